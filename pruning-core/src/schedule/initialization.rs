//! The weights from which training goes on after a pruning: [`Initialization`].

use serde::{Deserialize, Serialize};

/// The weights from which training goes on after a pruning, and the step at which the learning-rate schedule goes on.
///
/// In a recipe: `"keep"`, `"rewind"` (to the start), `{ rewind = { step = 100 } }`, `"rewind_rate"` (to the start),
/// `{ rewind_rate = { step = 100 } }`, `"reinitialize"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub enum Initialization {
    /// Training goes on from the present weights, and the learning rate goes on too.
    #[default]
    Keep,
    /// Training goes on from the weights of an earlier step, with the learning rate of that step (Frankle et al. 2020, "Linear Mode
    /// Connectivity and the Lottery Ticket Hypothesis").
    Rewind {
        /// The earlier step; 0 is the state when the masks were attached.
        step: usize,
    },
    /// Training goes on from the present weights, with the learning rate of an earlier step (Renda et al. 2020, "Comparing Rewinding and
    /// Fine-tuning in Neural Network Pruning", arXiv:2003.02389).
    RewindRate {
        /// The earlier step.
        step: usize,
    },
    /// Training goes on from new weights, drawn as the first ones were, with the learning rate of the start: the control of the lottery
    /// ticket hypothesis (Frankle & Carbin 2019, arXiv:1803.03635, section 2).
    Reinitialize,
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"keep\", \"rewind\", \"rewind_rate\", \"reinitialize\", { rewind = { step = N } } or \
                               { rewind_rate = { step = N } }"
)]
enum Form {
    Word(Word),
    Weights { rewind: Step },
    Rate { rewind_rate: Step },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Keep,
    Rewind,
    RewindRate,
    Reinitialize,
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
            Form::Word(Word::RewindRate) => Self::RewindRate { step: 0 },
            Form::Word(Word::Reinitialize) => Self::Reinitialize,
            Form::Weights { rewind: Step { step } } => Self::Rewind { step },
            Form::Rate { rewind_rate: Step { step } } => Self::RewindRate { step },
        }
    }
}

impl From<Initialization> for Form {
    fn from(initialization: Initialization) -> Self {
        match initialization {
            Initialization::Keep => Self::Word(Word::Keep),
            Initialization::Rewind { step } => Self::Weights { rewind: Step { step } },
            Initialization::RewindRate { step } => Self::Rate { rewind_rate: Step { step } },
            Initialization::Reinitialize => Self::Word(Word::Reinitialize),
        }
    }
}
