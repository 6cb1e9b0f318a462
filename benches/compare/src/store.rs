//! The results as they were measured: a group a line, so that one group can be measured again and the pages written anew.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::circumstances::Circumstances;
use crate::rows::groups;
use crate::run::Line;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub group: String,
    pub circumstances: Circumstances,
    pub lines: Vec<Line>,
}

pub struct Store {
    all: Vec<Measured>,
}

const FILE: &str = "results.jsonl";

impl Store {
    pub fn new() -> Store {
        Store { all: Vec::new() }
    }

    /// What `dir` holds, which may be nothing.
    pub fn load(dir: &Path) -> io::Result<Store> {
        match fs::read_to_string(dir.join(FILE)) {
            Ok(text) => Ok(Store { all: text.lines().map(serde_json::from_str).collect::<Result<_, _>>()? }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Store::new()),
            Err(error) => Err(error),
        }
    }

    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let mut text = String::new();
        for measured in &self.all {
            text.push_str(&serde_json::to_string(measured)?);
            text.push('\n');
        }
        fs::create_dir_all(dir)?;
        fs::write(dir.join(FILE), text)
    }

    /// In the place of what was measured of the same group under the same allocator.
    pub fn put(&mut self, new: Measured) {
        let key = |measured: &Measured| {
            let group = groups().iter().position(|group| group.0 == measured.group);
            (
                measured.circumstances.allocator != crate::circumstances::SYSTEM,
                measured.circumstances.allocator.clone(),
                group,
            )
        };
        self.all.retain(|old| key(old) != key(&new));
        self.all.push(new);
        self.all.sort_by_key(key);
    }

    pub fn of(&self, allocator: &str) -> Vec<&Measured> {
        self.all.iter().filter(|measured| measured.circumstances.allocator == allocator).collect()
    }

    /// The row of a group under an allocator.
    pub fn line(&self, allocator: &str, group: &str, row: &str) -> Option<&Line> {
        let measured = self.of(allocator).into_iter().find(|measured| measured.group == group)?;
        measured.lines.iter().find(|line| line.name == row)
    }
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}
