//! Inputs whose values the caller brings: [`CriterionInputs::with_input`].

use crate::layers::{layers, places};
use crate::score::inputs::Values;
use crate::score::{CriterionInputs, InputError, Need};
use burn::module::Module;
use burn::tensor::Tensor;

impl CriterionInputs {
    /// Adds an input that you computed, as values by the paths of their parameters.
    ///
    /// The values of a parameter have the shape that the input declares for it: that of the parameter itself for
    /// [`NeedShape::Weight`](crate::score::NeedShape::Weight), or `[cols]`, `[rows]`, `[cols, cols]` or `[batches, cols]` of its matrix for the others. They may
    /// also be a list of as many numbers in that order, so that one call can pass values of parameters of different ranks. The values count
    /// for pruned weights too.
    ///
    /// ```
    /// # use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
    /// use pruning_burn::score::{CriterionInputs, Need, NeedShape};
    /// const ACTIVATION_NORM: Need = Need::new("acme.activation_norm", NeedShape::Column);
    /// # let device = Device::flex();
    /// let model = LinearConfig::new(3, 2).init(&device);
    /// let norms = Tensor::<1>::from_data([0.5, 2.0, 1.0], &device);
    /// let inputs = CriterionInputs::new().with_input(ACTIVATION_NORM, &model, [("weight", norms)])?;
    /// assert!(inputs.holds(ACTIVATION_NORM));
    /// # Ok::<(), pruning_burn::score::InputError>(())
    /// ```
    ///
    /// # Errors
    /// The model has no such parameter, two different parameters share an id, the values have another shape, or a value is NaN or infinite.
    pub fn with_input<M: Module, P: Into<String>, const D: usize>(
        mut self,
        need: Need,
        model: &M,
        values: impl IntoIterator<Item = (P, Tensor<D>)>,
    ) -> Result<Self, InputError> {
        let all = layers(model)?;
        let places = places(&all);
        let mut checked = Values::new();
        for (path, value) in values {
            let path = path.into();
            let Some(layer) = places.get(path.as_str()).map(|&place| &all[place]) else {
                let paths = all.iter().map(|layer| layer.path.clone()).collect();
                return Err(InputError::UnknownParameter { input: need, path, paths });
            };
            let found = value.dims().to_vec();
            let expected = need.shape().of(&layer.shape, &layer.layout, found.iter().product());
            let len: usize = expected.iter().product();
            if found != expected && found != [len] {
                return Err(InputError::Shape { input: need, path, expected, found });
            }
            let value = value.without_autodiff().reshape([len]);
            if let Some(index) = value.to_data().iter::<f64>().position(|number| !number.is_finite()) {
                return Err(InputError::Value { input: need, path, index });
            }
            checked.insert(layer.path.clone(), value);
        }
        self.put(need, model, checked);
        self.dense = self.dense | need;
        Ok(self)
    }
}
