#![doc = include_str!("../README.md")]

mod answers;
mod endings;
mod impure;

use unskew_sdk::abi::{
    Batch, Column, DataType, Failure, Field, Function, Outcome, RowError, Values,
};

/// One function of the component: what it says of itself, and what it does.
struct Behaviour {
    name: &'static str,
    input: DataType,
    output: DataType,
    apply: fn(&Batch) -> Result<Outcome, Failure>,
}

impl Behaviour {
    /// A function from one column of floats to one.
    const fn floats(name: &'static str, apply: fn(&Batch) -> Result<Outcome, Failure>) -> Self {
        Self { name, input: DataType::Float64, output: DataType::Float64, apply }
    }

    fn describe(&self) -> Function {
        let field = |name: &str, data_type| Field {
            name: name.to_owned(),
            data_type,
            nullable: false,
            documentation: String::new(),
        };
        Function {
            name: self.name.to_owned(),
            documentation: "Hostile.".to_owned(),
            params: vec![],
            inputs: vec![field(if self.input == DataType::Utf8 { "s" } else { "x" }, self.input)],
            outputs: vec![field("y", self.output)],
        }
    }
}

fn behaviours() -> impl Iterator<Item = &'static Behaviour> {
    impure::BEHAVIOURS.iter().chain(endings::BEHAVIOURS).chain(answers::BEHAVIOURS)
}

/// What the component says of its functions.
pub fn describe() -> Vec<Function> {
    behaviours().map(Behaviour::describe).collect()
}

/// Runs the function at this place in [`describe`].
///
/// # Errors
/// Those that are hostile themselves.
pub fn apply(function: u32, batch: &Batch) -> Result<Outcome, Failure> {
    match behaviours().nth(function as usize) {
        Some(behaviour) => (behaviour.apply)(batch),
        None => Err(Failure { message: "there is no such function".to_owned() }),
    }
}

/// The first column, which is declared to be of floats.
fn x(batch: &Batch) -> &[f64] {
    match batch.columns.first() {
        Some(Column { values: Values::Float64(x), .. }) => x,
        _ => &[],
    }
}

/// An answer of one column without nulls and row errors.
fn values(values: Values) -> Result<Outcome, Failure> {
    column(values, vec![])
}

/// An answer of one column without row errors.
fn column(values: Values, validity: Vec<u8>) -> Result<Outcome, Failure> {
    Ok(Outcome { columns: vec![Column { values, validity }], errors: vec![] })
}

/// An answer of floats in good shape.
fn floats(y: impl IntoIterator<Item = f64>) -> Result<Outcome, Failure> {
    values(Values::Float64(y.into_iter().collect()))
}

/// An answer in good shape but for its row errors.
fn errors(batch: &Batch, errors: Vec<RowError>) -> Result<Outcome, Failure> {
    let columns = vec![Column { values: Values::Float64(x(batch).to_vec()), validity: vec![] }];
    Ok(Outcome { columns, errors })
}

#[cfg(target_arch = "wasm32")]
mod component {
    use unskew_sdk::abi::{Batch, Column, Failure, Function, Guest, Outcome};

    struct Component;

    impl Guest for Component {
        fn describe() -> Vec<Function> {
            super::describe()
        }

        fn apply(function: u32, _: Vec<Column>, batch: Batch) -> Result<Outcome, Failure> {
            super::apply(function, &batch)
        }
    }

    unskew_sdk::abi::export_component!(Component with_types_in unskew_sdk::abi);
}
