_vmroot_complete() {
    # bash has split the line at = and : as well. Words without a blank between them are one argument.
    local words=() rest=${COMP_LINE:0:COMP_POINT} word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i > 0)) && [[ ${rest:0:1} != [[:blank:]] ]]; then
            words[${#words[@]} - 1]+=$word
        else
            rest=${rest#"${rest%%[![:blank:]]*}"}
            if ((i == COMP_CWORD)); then
                word=$rest
            fi
            words+=("$word")
        fi
        rest=${rest:${#word}}
    done
    local current=${words[${#words[@]} - 1]}
    local candidates=()
    mapfile -t candidates < <(
        _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) VARIABLE=bash \
            "${words[0]/#\~/$HOME}" -- "${words[@]}" 2> /dev/null
    )
    # bash keeps the part of the argument up to the last separator.
    local separators= kept=
    [[ $COMP_WORDBREAKS == *:* ]] && separators+=:
    [[ $COMP_WORDBREAKS == *=* ]] && separators+==
    if [[ -n $separators ]]; then
        kept=${current%"${current##*[$separators]}"}
    fi
    COMPREPLY=()
    local candidate
    for candidate in "${candidates[@]}"; do
        if [[ -n $candidate ]]; then
            candidate=${candidate#"$kept"}
            [[ $candidate == *[!A-Za-z0-9_./:=@%+,~-]* ]] && printf -v candidate %q "$candidate"
            COMPREPLY+=("$candidate")
        fi
    done
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} != *[=/:] ]]; then
        compopt +o nospace 2> /dev/null
    fi
}
complete -o nospace -o bashdefault -F _vmroot_complete PROGRAM
