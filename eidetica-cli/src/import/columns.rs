//! The types of the columns of a CSV file.

use eidetica::crdt::Value;

use crate::typed;

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Int,
    Float,
    Bool,
    Text,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Type::Int => "int",
            Type::Float => "float",
            Type::Bool => "bool",
            Type::Text => "text",
        }
    }
}

/// What the cells of a column can be, as far as they have been seen.
#[derive(Clone, Copy, Debug)]
pub struct Guess {
    any: bool,
    int: bool,
    bool: bool,
    /// Floats that are all written without a fraction where they have none, or all with one. A column that mixes the two
    /// would not give back the texts it had, so it is text: it may hold versions, not numbers.
    short: bool,
    long: bool,
}

impl Guess {
    pub const NEW: Guess = Guess { any: false, int: true, bool: true, short: true, long: true };

    /// Takes a cell into account. Empty cells are null in a column of any type.
    pub fn see(&mut self, cell: &str) {
        if cell.is_empty() {
            return;
        }
        self.any = true;
        self.bool &= matches!(cell, "true" | "false");
        self.int &= typed::int(cell).is_some();
        if self.short || self.long {
            let number = typed::parsed(cell);
            self.short &= number.is_some_and(|number| typed::is_short(cell, number));
            self.long &= number.is_some_and(|number| typed::is_long(cell, number));
        }
    }

    pub fn decide(&self) -> Type {
        match self {
            Guess { any: false, .. } => Type::Text,
            Guess { bool: true, .. } => Type::Bool,
            Guess { int: true, .. } => Type::Int,
            Guess { short: true, .. } | Guess { long: true, .. } => Type::Float,
            _ => Type::Text,
        }
    }
}

/// The columns of a file, by place.
#[derive(Clone, Debug)]
pub struct Columns(pub Vec<(String, Type)>);

impl Columns {
    /// A cell in the type of its column; `None` if it has another one, which the first pass has ruled out.
    pub fn value(&self, place: usize, cell: &str) -> Option<Value> {
        match self.0.get(place)?.1 {
            Type::Int => typed::int(cell).map(Value::Int),
            Type::Float => typed::parsed(cell).map(Value::Float),
            Type::Bool => cell.parse().ok().map(Value::Bool),
            Type::Text => Some(cell.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cells: &[&str]) -> Type {
        let mut guess = Guess::NEW;
        cells.iter().for_each(|cell| guess.see(cell));
        guess.decide()
    }

    #[test]
    fn a_column_has_a_type_only_if_nothing_is_lost() {
        assert_eq!(of(&["1", "", "-20"]), Type::Int);
        assert_eq!(of(&["1", "2.5"]), Type::Float);
        assert_eq!(of(&["1.0", "2.5", "-0.0"]), Type::Float);
        assert_eq!(of(&["true", "", "false"]), Type::Bool);
        for text in [
            &["1", "1.0"][..],
            &["007"],
            &["1.10"],
            &["1", "x"],
            &["true", "1"],
            &["TRUE"],
            &["1e5"],
            &["NaN"],
            &["inf"],
            &[" 1"],
            &["9223372036854775808"],
            &["", ""],
            &[],
        ] {
            assert_eq!(of(text), Type::Text, "{text:?}");
        }
    }
}
