//! The product of the Hessian with the gradient, by differences of gradients in double precision.

use crate::score::Needs;
use crate::score::inputs::gradients::averages;
use crate::score::inputs::shift::{By, Shift};
use crate::score::inputs::{InputError, Values, weights};
use crate::walk;
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use pruning_core::caught;
use std::cell::Cell;
use std::slice::from_ref;

/// How far to go along the gradient, relative to the norm of the weights. A step that is so short crosses a kink of ReLU next to never, and
/// leaves half of the digits of a double; where it does cross one, the next is tried.
const STEPS: [f64; 4] = [1e-8, 1e-9, 1e-10, 1e-11];
/// Two differences that are no further apart, relative to their norm, settle a batch.
const SETTLED: f64 = 1e-4;
/// What may be uncertain of the whole product.
const UNCERTAIN: f64 = 1e-3;

/// `H g` of the mean loss, in the types of the parameters: as a second pass of autodiff through the first would have it, with the slopes that
/// every ReLU and the choice that every maximum has at the weights.
///
/// Each batch is differentiated on both sides of the weights. Without a kink in between the two agree; a kink shows as a difference that grows as
/// the step gets shorter, on its side alone. What two differences agree in is the product, and how far they are apart its uncertainty.
pub(super) fn product<M: Module, B>(
    model: &M,
    batches: &[B],
    loss: &impl Fn(&M, &B) -> Tensor<1>,
) -> Result<Values, InputError> {
    if batches.is_empty() {
        return Err(InputError::NoBatch);
    }
    let types: Vec<(String, DType)> = weights(model).into_iter().map(|(path, value)| (path, value.dtype())).collect();
    let double = double(model)?;
    let size = norm(&weights(&double));
    let mut sum: Option<Values> = None;
    for (number, batch) in batches.iter().enumerate() {
        let gradient = gradient(&double, number, batch, loss).map_err(|error| match error {
            // A closure that panics on the model as it is panics for a reason of its own.
            InputError::NotDouble { .. } => match caught(|| loss(model, batch)) {
                Err(message) => InputError::Panicked { batch: number, message },
                Ok(_) => error,
            },
            error => error,
        })?;
        sum = Some(sum.map_or(gradient.clone(), |sum| combine(sum, &gradient, 1.0)));
    }
    let sum = sum.unwrap_or_default();
    let slope = norm(&sum);
    if slope == 0.0 {
        // No slope: the product is zero too.
        return Ok(typed(sum, &types));
    }
    let step = size.max(1.0) / slope;
    let (mut total, mut apart): (Option<Values>, f64) = (None, 0.0);
    for (number, batch) in batches.iter().enumerate() {
        let at = |model: &M| gradient(model, number, batch, loss);
        let (product, uncertain) = difference(&double, &sum, step, &at)?;
        apart += uncertain;
        total = Some(total.map_or(product.clone(), |total| combine(total, &product, 1.0)));
    }
    let total = total.unwrap_or_default();
    let relative = if apart == 0.0 { 0.0 } else { apart / norm(&total) };
    if relative.is_nan() || relative > UNCERTAIN {
        return Err(InputError::Uncertain { apart: format!("{relative:.1e}") });
    }
    // Of sums to that of means, twice: the Hessian is that of the mean loss, and so is the gradient.
    let many = batches.len() as f64;
    let mean = total.into_iter().map(|(path, value)| (path, value / (many * many))).collect();
    Ok(typed(mean, &types))
}

/// A copy in double precision, running statistics included.
fn double<M: Module>(model: &M) -> Result<M, InputError> {
    if let Some((path, value)) = weights(model).first_key_value() {
        let device = value.device();
        if !computes_in_double(&device) {
            return Err(InputError::NoDouble { path: path.clone(), device: format!("{device:?}") });
        }
    }
    // Running statistics of a plain clone are shared.
    Ok(walk::map(model.valid().train(), &mut Shift::new(By::Double)))
}

/// Whether a device computes in double precision. GPU drivers say that they have the type, and take exponentials and logarithms in single
/// precision, or give no numbers at all.
fn computes_in_double(device: &Device) -> bool {
    let computed = || {
        let x = Tensor::<1>::from_data(TensorData::from([0.3_f64]), (&device.clone().without_autodiff(), DType::F64));
        x.exp().log().into_scalar::<f64>()
    };
    device.supports_dtype(DType::F64) && caught(computed).is_ok_and(|x| (x - 0.3).abs() < 1e-14)
}

/// The gradient of one batch. Whatever a loss in another type than the weights does, it is an error that says what to do.
fn gradient<M: Module, B>(
    model: &M,
    number: usize,
    batch: &B,
    loss: &impl Fn(&M, &B) -> Tensor<1>,
) -> Result<Values, InputError> {
    let found = Cell::new(DType::F64);
    let watched = |model: &M, batch: &B| {
        let loss = loss(model, batch);
        found.set(loss.dtype());
        loss
    };
    let result = caught(|| averages(model, from_ref(batch), &watched, &Needs::none()));
    let other = |found| InputError::NotDouble { batch: number, found };
    let result = result.map_err(other)?;
    if found.get() != DType::F64 {
        return Err(other(format!("a loss of type {:?}", found.get())));
    }
    let found = result.map_err(|error| match error {
        InputError::Panicked { message, .. } => other(message),
        InputError::NotScalar { found, .. } => InputError::NotScalar { batch: number, found },
        InputError::NotFinite { .. } => InputError::NotFinite { batch: number },
        error => error,
    })?;
    Ok(found.gradient)
}

/// The change of a gradient along a direction, in units of `unit` times the direction, and how far it is uncertain.
fn difference<M: Module>(
    model: &M,
    direction: &Values,
    unit: f64,
    gradient: &impl Fn(&M) -> Result<Values, InputError>,
) -> Result<(Values, f64), InputError> {
    let here = gradient(model)?;
    let mut sides: Vec<Values> = Vec::new();
    let mut best: Option<(Values, f64)> = None;
    for relative in STEPS {
        for step in [relative * unit, -relative * unit] {
            let moved = walk::map(model.clone(), &mut Shift::new(By::Along(direction, step)));
            let side = scale(combine(gradient(&moved)?, &here, -1.0), 1.0 / step);
            for other in &sides {
                let apart = norm(&combine(side.clone(), other, -1.0));
                if best.as_ref().is_none_or(|(_, least)| apart < *least) {
                    best = Some((scale(combine(side.clone(), other, 1.0), 0.5), apart));
                }
            }
            sides.push(side);
        }
        if let Some((product, apart)) = &best
            && *apart <= SETTLED * norm(product)
        {
            break;
        }
    }
    // Two sides at least have been compared; without a number among them nothing is certain.
    Ok(best.unwrap_or((here, f64::NAN)))
}

/// `a + by b`.
fn combine(a: Values, b: &Values, by: f64) -> Values {
    let add = |(path, value): (String, Tensor<1>)| match b.get(&path) {
        Some(other) => (path, value + other.clone() * by),
        None => (path, value),
    };
    a.into_iter().map(add).collect()
}

fn scale(values: Values, by: f64) -> Values {
    values.into_iter().map(|(path, value)| (path, value * by)).collect()
}

fn norm(values: &Values) -> f64 {
    let square = |value: &Tensor<1>| value.clone().square().sum().into_scalar::<f64>();
    values.values().map(square).sum::<f64>().sqrt()
}

fn typed(mut values: Values, types: &[(String, DType)]) -> Values {
    // Packed integers have no products.
    for (path, dtype) in types.iter().filter(|(_, dtype)| !matches!(dtype, DType::QFloat(_))) {
        if let Some(value) = values.remove(path) {
            values.insert(path.clone(), value.cast(*dtype));
        }
    }
    values
}
