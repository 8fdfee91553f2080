//! Gradients of a loss over batches, and what is added up of them: [`averages`].

use crate::layers::first_layers;
use crate::score::inputs::{Values, weights};
use crate::score::{InputError, Need, Needs};
use crate::walk::{self, Position, Visit};
use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use pruning_core::caught;
use pruning_core::score::MatrixLayout;
use std::collections::BTreeMap;

/// What gradients over batches add up to.
pub(super) struct Averages {
    /// The mean gradient.
    pub(super) gradient: Values,
    /// The mean squared gradient, where it is wanted.
    pub(super) squared: Values,
    /// The effect of each column in each batch, where it is wanted.
    pub(super) column_effect: Values,
}

/// The mean gradient over batches, and what else of it is among the needs.
pub(super) fn averages<M: Module, B>(
    model: &M,
    batches: &[B],
    loss: &impl Fn(&M, &B) -> Tensor<1>,
    needs: &Needs,
) -> Result<Averages, InputError> {
    if batches.is_empty() {
        return Err(InputError::NoBatch);
    }
    let squares = needs.contains(Need::SQUARED_GRADIENT);
    let mut effects = needs.contains(Need::COLUMN_EFFECT).then(|| Effects::of(model));
    let (mut sum, mut square) = (Values::new(), Values::new());
    let add = |values: &mut Values, path: &str, value: Tensor<1>| {
        let value = match values.remove(path) {
            Some(sum) => sum + value,
            None => value,
        };
        values.insert(path.to_string(), value);
    };
    for (number, batch) in batches.iter().enumerate() {
        let loss = caught(|| loss(model, batch)).map_err(|message| InputError::Panicked { batch: number, message })?;
        if loss.dims() != [1] {
            return Err(InputError::NotScalar { batch: number, found: loss.dims()[0] });
        }
        if !loss.clone().into_data().iter::<f64>().all(f64::is_finite) {
            return Err(InputError::NotFinite { batch: number });
        }
        // The loss of another model, or a constant: Burn would have nothing to go back through.
        if !loss.is_tracked() {
            return Err(InputError::NoGradient);
        }
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        let mut read = Gradients::new(&gradients);
        walk::visit(model, &mut read);
        effects.iter_mut().for_each(|effects| effects.add(&read.values));
        for (path, gradient) in read.values {
            if squares {
                add(&mut square, &path, gradient.clone().square());
            }
            add(&mut sum, &path, gradient);
        }
    }
    if sum.is_empty() {
        return Err(InputError::NoGradient);
    }
    // A parameter that the loss does not depend on has a gradient of zero; its entry tells this model from another.
    let zeros: Values = weights(model).into_iter().map(|(p, v)| (p, v.zeros_like())).collect();
    let mean = |values: Values| {
        let mut mean = zeros.clone();
        mean.extend(values.into_iter().map(|(p, v)| (p, v / batches.len() as f64)));
        mean
    };
    let column_effect = effects.map(Effects::into_values).unwrap_or_default();
    Ok(Averages { gradient: mean(sum), squared: mean(square), column_effect })
}

/// The sums of `w g` over the rows of each weight, batch after batch.
struct Effects {
    weights: BTreeMap<String, (Tensor<1>, MatrixLayout, Vec<Tensor<1>>)>,
}

impl Effects {
    fn of<M: Module>(model: &M) -> Self {
        let mut values = weights(model);
        // Of weights that have columns of a product; the vocabulary of an embedding would be many.
        let layers = first_layers(model).into_iter().filter(|l| l.by_default && !l.layout.is_empty());
        let of = |l: crate::layers::Layer| Some((l.path.clone(), (values.remove(&l.path)?, l.layout, Vec::new())));
        Self { weights: layers.filter_map(of).collect() }
    }

    fn add(&mut self, gradients: &Values) {
        for (path, (weight, layout, effects)) in &mut self.weights {
            let products = match gradients.get(path) {
                Some(gradient) => weight.clone() * gradient.clone(),
                None => weight.zeros_like(),
            };
            let products = products.reshape([layout.outer(), layout.rows(), layout.inner()]);
            effects.push(products.sum_dim(1).reshape([layout.cols()]));
        }
    }

    fn into_values(self) -> Values {
        self.weights.into_iter().map(|(path, (_, _, effects))| (path, Tensor::cat(effects, 0))).collect()
    }
}

/// Gradients by path.
pub(super) struct Gradients<'a> {
    gradients: &'a GradientsParams,
    pub(super) values: Values,
}

impl<'a> Gradients<'a> {
    pub(super) fn new(gradients: &'a GradientsParams) -> Self {
        Self { gradients, values: Values::new() }
    }
}

impl Visit for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if at.carried().is_none()
            && let Some(gradient) = self.gradients.get::<D>(param.id)
        {
            let len = gradient.shape().num_elements();
            self.values.insert(at.path(), gradient.without_autodiff().reshape([len]));
        }
    }
}
