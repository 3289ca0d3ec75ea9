//! The handshake: flags, and options until one of them begins the transmission.

use std::io::{Read, Write};

use super::connection::{Connection, Ended, Fields, Step};
use super::options;
use super::protocol::*;

/// The continuation after an option.
enum Next {
    Option,
    Transmission,
    End,
}

impl<I: Read, O: Write> Connection<'_, I, O> {
    /// Negotiates with the client. Returns whether it begins the transmission.
    pub(super) fn shake_hands(&mut self) -> Step<bool> {
        let flags = (FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes();
        self.write(&[NBD_MAGIC.as_slice(), OPTION_MAGIC, &flags].concat())?;
        let client = u32::from_be_bytes(self.read()?);
        if client & !u32::from(FIXED_NEWSTYLE | NO_ZEROES) != 0 {
            return Err(Ended::Violation("unknown flags in the handshake"));
        }
        self.zeroes = client & u32::from(NO_ZEROES) == 0;
        loop {
            match self.answer_option()? {
                Next::Option => {}
                Next::Transmission => return Ok(true),
                Next::End => return Ok(false),
            }
        }
    }

    fn answer_option(&mut self) -> Step<Next> {
        let header: [u8; 16] = self.read()?;
        let mut fields = Fields(&header);
        if fields.u64() != Some(u64::from_be_bytes(*OPTION_MAGIC)) {
            return Err(Ended::Violation("an option without its magic number"));
        }
        let (Some(number), Some(length)) = (fields.u32(), fields.u32()) else { return Err(Ended::Disconnected) };
        if length > MAX_OPTION {
            return Err(Ended::Violation("an option that is too long"));
        }
        let data = self.read_bytes(length)?;
        match number {
            option::EXPORT_NAME => return self.export_name(&data),
            option::ABORT => {
                self.reply(number, reply::ACK, &[])?;
                return Ok(Next::End);
            }
            option::LIST if data.is_empty() => {
                let name = EXPORT_NAME.as_bytes();
                self.reply(number, reply::SERVER, &[&(name.len() as u32).to_be_bytes()[..], name].concat())?;
                self.reply(number, reply::ACK, &[])?;
            }
            option::STRUCTURED_REPLY if data.is_empty() => {
                self.structured = true;
                self.reply(number, reply::ACK, &[])?;
            }
            option::LIST | option::STRUCTURED_REPLY => self.reply(number, reply::INVALID, &[])?,
            option::INFO | option::GO => return self.info(number, &data),
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => self.contexts(number, &data)?,
            _ => self.reply(number, reply::UNSUPPORTED, &[])?,
        }
        Ok(Next::Option)
    }

    /// Begins the transmission for a client that uses no information about the export. This option has no error replies.
    fn export_name(&mut self, name: &[u8]) -> Step<Next> {
        if !options::is_export(name) {
            return Err(Ended::Violation("an unknown export name"));
        }
        let mut bytes = self.export_fields();
        if self.zeroes {
            bytes.resize(bytes.len() + 124, 0);
        }
        self.write(&bytes)?;
        Ok(Next::Transmission)
    }

    fn info(&mut self, number: u32, data: &[u8]) -> Step<Next> {
        let Some(wanted) = options::parse_info(data) else {
            self.reply(number, reply::INVALID, &[])?;
            return Ok(Next::Option);
        };
        if !options::is_export(wanted.name) {
            self.reply(number, reply::UNKNOWN, &[])?;
            return Ok(Next::Option);
        }
        let export = [&info::EXPORT.to_be_bytes()[..], &self.export_fields()].concat();
        self.reply(number, reply::INFO, &export)?;
        let sizes = [1, PREFERRED_BLOCK, MAX_LENGTH].map(u32::to_be_bytes).concat();
        let description = format!("vmroot {}", self.device.identity());
        let others: [(u16, &[u8]); 3] = [
            (info::NAME, EXPORT_NAME.as_bytes()),
            (info::DESCRIPTION, description.as_bytes()),
            (info::BLOCK_SIZE, &sizes),
        ];
        for (kind, bytes) in others.into_iter().filter(|(kind, _)| wanted.kinds.contains(kind)) {
            self.reply(number, reply::INFO, &[&kind.to_be_bytes()[..], bytes].concat())?;
        }
        self.reply(number, reply::ACK, &[])?;
        Ok(if number == option::GO { Next::Transmission } else { Next::Option })
    }

    fn contexts(&mut self, number: u32, data: &[u8]) -> Step<()> {
        let selects = number == option::SET_META_CONTEXT;
        // A new selection replaces the previous one, even if it fails.
        self.has_context &= !selects;
        let queries = options::parse_contexts(data).filter(|_| self.structured);
        let Some((name, queries)) = queries else { return self.reply(number, reply::INVALID, &[]) };
        if !options::is_export(name) {
            return self.reply(number, reply::UNKNOWN, &[]);
        }
        if options::matches_context(&queries, selects) {
            self.has_context |= selects;
            let id = if selects { CONTEXT_ID } else { 0 };
            self.reply(number, reply::META_CONTEXT, &[&id.to_be_bytes()[..], CONTEXT.as_bytes()].concat())?;
        }
        self.reply(number, reply::ACK, &[])
    }

    /// Returns the length and the flags of the export.
    fn export_fields(&self) -> Vec<u8> {
        let mut flags = export::HAS_FLAGS | export::READ_ONLY | export::CAN_MULTI_CONN | export::SEND_CACHE;
        if self.structured {
            flags |= export::SEND_DF;
        }
        [&self.device.length().to_be_bytes()[..], &flags.to_be_bytes()].concat()
    }

    fn reply(&mut self, number: u32, kind: u32, data: &[u8]) -> Step<()> {
        let mut bytes = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
        for field in [number, kind, data.len() as u32] {
            bytes.extend_from_slice(&field.to_be_bytes());
        }
        bytes.extend_from_slice(data);
        self.write(&bytes)
    }
}
