//! What people did, kept in a file: with the settings it is the whole exchange.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::settings::StartError;
use crate::exchange::{Command, Settings};
use crate::model::Millis;

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    /// The first: of which exchange this is.
    Head {
        seed: u64,
        origin: Millis,
        accounts: usize,
        symbols: usize,
    },
    Did(Command),
    /// How far time had come, where it does not run with real time.
    Reached {
        reached: Millis,
    },
}

/// The open file.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// Commands of the exchange that are in the file.
    written: usize,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Past {
    pub settings: Option<Settings>,
    pub commands: Vec<Command>,
    pub reached: Option<Millis>,
}

impl Journal {
    /// Reads a file and goes on with it; one that is not there is begun by [`Journal::begin`].
    pub fn open(path: &Path) -> Result<(Self, Past), StartError> {
        let name = || path.display().to_string();
        let failed = |source| StartError::Journal { path: name(), source };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut file = options.open(path).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        // A line that was cut off while it was written was never accepted.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(u64::try_from(whole).unwrap_or(0)).map_err(failed)?;
            file.seek(SeekFrom::End(0)).map_err(failed)?;
        }
        let mut past = Past::default();
        for (at, line) in text[..whole].lines().enumerate() {
            let unreadable = |reason| StartError::JournalLine { path: name(), line: at + 1, reason };
            match serde_json::from_str(line).map_err(|error| unreadable(error.to_string()))? {
                Line::Head { seed, origin, accounts, symbols } if at == 0 => {
                    past.settings = Some(Settings { seed, origin, accounts, symbols });
                }
                Line::Head { .. } => return Err(unreadable("a second beginning".into())),
                Line::Did(command) => past.commands.push(command),
                Line::Reached { reached } => past.reached = Some(reached),
            }
        }
        if past.settings.is_none() && !past.commands.is_empty() {
            return Err(StartError::JournalLine { path: name(), line: 1, reason: "no beginning".into() });
        }
        Ok((Self { file, written: past.commands.len() }, past))
    }

    /// Says of which exchange this is, in a new file.
    pub fn begin(&mut self, settings: &Settings) -> std::io::Result<()> {
        let Settings { seed, origin, accounts, symbols } = *settings;
        self.line(&Line::Head { seed, origin, accounts, symbols })
    }

    /// Appends the commands that are not in the file yet.
    pub fn keep(&mut self, commands: &[Command]) -> std::io::Result<()> {
        for command in commands.iter().skip(self.written) {
            self.line(&Line::Did(command.clone()))?;
            self.written += 1;
        }
        Ok(())
    }

    /// Notes how far time has come.
    pub fn reached(&mut self, now: Millis) -> std::io::Result<()> {
        self.line(&Line::Reached { reached: now })
    }

    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())
    }
}
