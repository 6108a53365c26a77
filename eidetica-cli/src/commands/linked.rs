//! What is part of this program: `backends`, `transports`.

use eidetica::backend::{Capabilities, Registry};

use crate::failure::Failure;
use crate::output::Output;

/// Lists the kinds of stores.
pub fn backends(output: &mut Output) -> Result<(), Failure> {
    let registry = Registry::linked()?;
    let mut lines = Vec::new();
    for backend in registry.backends() {
        let can = names(backend.capabilities());
        if output.json {
            output.document(&serde_json::json!({
                "scheme": backend.scheme(), "origin": backend.origin(), "capabilities": can,
            }))?;
        } else {
            lines.push(vec![backend.scheme().to_owned(), backend.origin().to_owned(), can.join(", ")]);
        }
    }
    finish(output, &["scheme", "origin", "can"], &lines)
}

/// Lists the ways to other devices.
pub fn transports(output: &mut Output) -> Result<(), Failure> {
    let registry = Registry::linked()?;
    let mut lines = Vec::new();
    for transport in registry.transports() {
        if output.json {
            output.document(&serde_json::json!({ "scheme": transport.scheme(), "origin": transport.origin() }))?;
        } else {
            lines.push(vec![transport.scheme().to_owned(), transport.origin().to_owned()]);
        }
    }
    finish(output, &["scheme", "origin"], &lines)
}

fn finish(output: &mut Output, headings: &[&str], lines: &[Vec<String>]) -> Result<(), Failure> {
    if !output.json {
        let headings: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
        output.table(&headings, lines)?;
    }
    output.flush()
}

fn names(can: Capabilities) -> Vec<&'static str> {
    let all = [(can.durable, "durable"), (can.shared, "shared"), (can.compact, "compact"), (can.check, "check")];
    all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect()
}
