//! Proxies, configured by the usual environment variables.

use std::fmt;

use reqwest::{NoProxy, Url};

use crate::{Error, Result};

/// Hosts that are never reached through a proxy, as in Go and curl.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxies for HTTP and HTTPS, and the exceptions from them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy for `http` URLs, as an `http://`, `https://`, `socks5://` or `socks5h://` URL. It may contain a user
    /// and a password. Without a scheme, `http://` is assumed.
    pub http: Option<String>,
    /// The proxy for `https` URLs, in the same form.
    pub https: Option<String>,
    /// Hosts, domains with their subdomains, addresses and networks to reach without a proxy, separated by commas. `*`
    /// matches every host.
    pub no_proxy: Option<String>,
}

impl Proxies {
    /// Reads the proxies from `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    ///
    /// `lookup` returns the value of a variable. Empty values count as unset. Names in lower case are accepted too and
    /// take precedence. If `REQUEST_METHOD` is set, the process runs as a CGI program and `HTTP_PROXY` is ignored,
    /// because the client of the web server can set it (CVE-2016-5385).
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let either = |lower: &str| variable(lower).or_else(|| variable(&lower.to_ascii_uppercase()));
        let all = either("all_proxy");
        let http = match variable("REQUEST_METHOD") {
            Some(_) => variable("http_proxy"),
            None => either("http_proxy"),
        };
        Self { http: http.or_else(|| all.clone()), https: either("https_proxy").or(all), no_proxy: either("no_proxy") }
    }

    /// Returns whether a proxy is configured.
    pub(crate) fn is_some(&self) -> bool {
        self.http.is_some() || self.https.is_some()
    }

    /// Returns the host names of the proxies.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let urls = [&self.http, &self.https].into_iter().flatten().map(|url| with_scheme(url));
        urls.filter_map(|url| Some(Url::parse(&url).ok()?.host_str()?.to_owned())).collect()
    }

    /// Converts the proxies to those of reqwest.
    ///
    /// # Errors
    /// [`Error::Option`] if a proxy is not a valid URL.
    pub(crate) fn to_reqwest(&self) -> Result<Vec<reqwest::Proxy>> {
        let exceptions = match &self.no_proxy {
            Some(list) => format!("{list},{LOOPBACK}"),
            None => LOOPBACK.to_owned(),
        };
        let mut proxies = Vec::new();
        type Make = fn(&str) -> reqwest::Result<reqwest::Proxy>;
        let both: [(_, Make); 2] =
            [(&self.http, |url| reqwest::Proxy::http(url)), (&self.https, |url| reqwest::Proxy::https(url))];
        for (url, make) in both {
            let Some(url) = url else { continue };
            let proxy = make(&with_scheme(url)).map_err(|error| Error::Option {
                option: "proxy",
                // The URL is omitted, because it may hold a password.
                reason: error.without_url().to_string(),
            })?;
            proxies.push(proxy.no_proxy(NoProxy::from_string(&exceptions)));
        }
        Ok(proxies)
    }
}

fn with_scheme(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

impl fmt::Debug for Proxies {
    /// Omits the URLs, because they may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn reads_the_usual_variables() {
        let proxies = of(&[("http_proxy", "a:1"), ("HTTP_PROXY", "b:1"), ("HTTPS_PROXY", "c:1"), ("NO_PROXY", "d")]);
        assert_eq!(proxies.http.as_deref(), Some("a:1"));
        assert_eq!(proxies.https.as_deref(), Some("c:1"));
        assert_eq!(proxies.no_proxy.as_deref(), Some("d"));
        assert_eq!(of(&[("ALL_PROXY", "e:1"), ("https_proxy", " ")]).https.as_deref(), Some("e:1"));
    }

    #[test]
    fn cgi_may_not_set_the_proxy() {
        assert_eq!(of(&[("HTTP_PROXY", "evil:1"), ("REQUEST_METHOD", "GET")]).http, None);
    }

    #[test]
    fn bad_urls_are_errors_without_the_password() {
        let proxies = Proxies { http: Some("http://user:secret@[bad".to_owned()), ..Proxies::default() };
        let error = proxies.to_reqwest().unwrap_err().to_string();
        assert!(error.starts_with("proxy: ") && !error.contains("secret"), "{error}");
    }
}
