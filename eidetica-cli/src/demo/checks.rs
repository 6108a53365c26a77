//! What the demo says, and what it insists on.

use eidetica::{Error, ErrorKind};

use crate::failure::Failure;
use crate::output::Output;

/// Tells the story: people read all of it, programs the last line.
pub struct Teller<'o> {
    output: &'o mut Output,
    steps: u32,
    held: u32,
}

impl<'o> Teller<'o> {
    pub fn new(output: &'o mut Output) -> Teller<'o> {
        Teller { output, steps: 0, held: 0 }
    }

    pub fn json(&self) -> bool {
        self.output.json
    }

    /// How much has been found to be so.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Begins a part.
    pub fn step(&mut self, text: &str) -> Result<(), Failure> {
        self.steps += 1;
        self.line(&format!("{}. {text}", self.steps))
    }

    /// Tells something of the part.
    pub fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.line(&format!("   {text}"))
    }

    /// Insists on something.
    pub fn check(&mut self, so: bool, what: &str) -> Result<(), Failure> {
        if !so {
            return Err(Error::new(ErrorKind::Internal, format!("this is not so: {what}")).into());
        }
        self.held += 1;
        self.line(&format!("   ok: {what}"))
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        if self.output.json {
            return Ok(());
        }
        self.output.line(text)?;
        self.output.flush()
    }
}
