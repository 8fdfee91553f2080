use burn::tensor::Tensor;
use pruning_burn::plugin::Plugin;
use pruning_burn::score::{Criterion, CriterionError, LayerView, Need, NeedShape, Needs};
use serde::{Deserialize, Serialize};

/// The norm of each input column over a batch: an input of this crate, which its users give by `CriterionInputs::with_input`.
pub const COLUMN_NORM: Need = Need::new("acme.column_norm", NeedShape::Column);

/// Magnitude of each weight times the norm of the input that it reads.
///
/// # Needs
/// [`COLUMN_NORM`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnScaled {}

impl Plugin for ColumnScaled {
    const NAME: &'static str = "acme.column_scaled";
    const SUMMARY: &'static str = "Magnitude of each weight times the norm of the input that it reads.";
}

impl Criterion for ColumnScaled {
    fn needs(&self) -> Needs {
        COLUMN_NORM.into()
    }

    fn score(&self, layer: &LayerView<'_>) -> Result<Tensor<2>, CriterionError> {
        // One row of norms, for every row of weights.
        Ok(layer.weight().abs() * layer.input(COLUMN_NORM)?)
    }
}

pruning_burn::register_criterion!(ColumnScaled);
