//! From which weights training goes on after a pruning: [`Initialization`].

use serde::{Deserialize, Serialize};

/// The weights that training goes on from.
///
/// In a recipe: `"keep"`, `"rewind"` (to the start), or `{ rewind = { step = 100 } }`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub enum Initialization {
    /// Those it has.
    #[default]
    Keep,
    /// Those it had at an earlier step (Frankle et al. 2020, "Linear Mode Connectivity and the Lottery Ticket Hypothesis").
    Rewind {
        /// The step; 0 is the state when the masks were attached.
        step: usize,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"keep\", \"rewind\" or { rewind = { step = N } }")]
enum Form {
    Word(Word),
    Table { rewind: Step },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Keep,
    Rewind,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    step: usize,
}

impl From<Form> for Initialization {
    fn from(form: Form) -> Self {
        match form {
            Form::Word(Word::Keep) => Self::Keep,
            Form::Word(Word::Rewind) => Self::Rewind { step: 0 },
            Form::Table { rewind: Step { step } } => Self::Rewind { step },
        }
    }
}

impl From<Initialization> for Form {
    fn from(initialization: Initialization) -> Self {
        match initialization {
            Initialization::Keep => Self::Word(Word::Keep),
            Initialization::Rewind { step } => Self::Table { rewind: Step { step } },
        }
    }
}
