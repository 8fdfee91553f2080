//! Names of operations, for errors and reports.

use burn_ir::OperationIr;
use std::fmt::{self, Write};

/// `matmul`, `conv2d`, `cum_sum`: the innermost name of an operation, in snake case.
pub(crate) fn name(op: &OperationIr) -> String {
    if let OperationIr::Custom(custom) = op {
        return custom.id.clone();
    }
    let mut head = Head(String::new());
    // It fails on purpose as soon as the name is complete.
    let _ = write!(head, "{op:?}");
    let names = head.0.split(['(', ',', ' ', '{']).filter(|part| !part.is_empty());
    let own = names.take_while(|part| !part.ends_with("Ir")).last().unwrap_or("operation");
    let mut snake = String::new();
    for (i, c) in own.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// Takes what comes before the fields of the innermost struct.
struct Head(String);

impl Write for Head {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find('{').unwrap_or(text.len());
        self.0.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
