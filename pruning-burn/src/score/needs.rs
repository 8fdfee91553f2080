//! The inputs that a criterion declares: one is a [`Need`], several are [`Needs`].

use pruning_core::plugin::check_name;
use pruning_core::score::MatrixLayout;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::BitOr;

/// An input of a criterion, identified by its name and its shape.
///
/// The inputs of this project are constants here. Another crate can declare more, and pass their values to
/// [`CriterionInputs::with_input`](crate::score::CriterionInputs::with_input):
///
/// ```
/// use pruning_burn::score::{Need, NeedShape};
/// const ACTIVATION_NORM: Need = Need::new("acme.activation_norm", NeedShape::Column);
/// assert_eq!(ACTIVATION_NORM.name(), "acme.activation_norm");
/// ```
///
/// A name with other characters does not compile:
///
/// ```compile_fail,E0080
/// use pruning_burn::score::{Need, NeedShape};
/// const ACTIVATION_NORM: Need = Need::new("Activation norm", NeedShape::Column);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Need {
    name: &'static str,
    shape: NeedShape,
}

/// The shape of an input for a layer, whose weights are a matrix of rows (output units) and columns (fan-in).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NeedShape {
    /// One number for each weight: `[rows, cols]`.
    Weight,
    /// One number for each input column: `[cols]`.
    Column,
    /// One number for each output unit: `[rows]`.
    Output,
    /// One number for each pair of input columns: `[cols, cols]`.
    Columns,
    /// One number for each batch and input column: `[batches, cols]`.
    Batches,
}

impl NeedShape {
    /// The shape of `len` values for a parameter; those for each weight have the shape of the parameter itself. Only the number of batches
    /// depends on `len`.
    pub(crate) fn of(self, parameter: &[usize], layout: &MatrixLayout, len: usize) -> Vec<usize> {
        match self {
            Self::Weight => parameter.to_vec(),
            Self::Column => vec![layout.cols()],
            Self::Output => vec![layout.rows()],
            Self::Columns => vec![layout.cols(), layout.cols()],
            Self::Batches => vec![(len / layout.cols().max(1)).max(1), layout.cols()],
        }
    }
}

impl fmt::Display for NeedShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weight => "[rows, cols]",
            Self::Column => "[cols]",
            Self::Output => "[rows]",
            Self::Columns => "[cols, cols]",
            Self::Batches => "[batches, cols]",
        })
    }
}

impl Need {
    /// The gradient of the loss, averaged over batches.
    pub const GRADIENT: Self = Self::new("gradient", NeedShape::Weight);
    /// The squared gradient of the loss of a batch, averaged over batches.
    pub const SQUARED_GRADIENT: Self = Self::new("squared_gradient", NeedShape::Weight);
    /// The product of the Hessian of the loss with its gradient, collected in double precision: see
    /// [`CriterionInputs::with_gradients`](crate::score::CriterionInputs::with_gradients).
    pub const HESSIAN_GRADIENT: Self = Self::new("hessian_gradient", NeedShape::Weight);
    /// The change of the loss of each batch with a factor on each input column, the sum of `w g` over the rows: of the weights of linear and
    /// convolution layers.
    pub const COLUMN_EFFECT: Self = Self::new("column_effect", NeedShape::Batches);
    /// The weights at an earlier time.
    pub const INITIAL_WEIGHT: Self = Self::new("initial_weight", NeedShape::Weight);
    /// `-w g`, summed over steps of training.
    pub const MOVEMENT: Self = Self::new("movement", NeedShape::Weight);
    /// The gradient of the summed outputs of the network of absolute weights.
    pub const FLOW: Self = Self::new("flow", NeedShape::Weight);
    /// The norm of each input column over all calibration rows, divided by the root of their number.
    pub const INPUT_NORM: Self = Self::new("input_norm", NeedShape::Column);
    /// The mean of each input column over all calibration rows.
    pub const INPUT_MEAN: Self = Self::new("input_mean", NeedShape::Column);
    /// The mean product of each pair of input columns over all calibration rows: the Gram matrix divided by their number.
    pub const INPUT_GRAM: Self = Self::new("input_gram", NeedShape::Columns);
    /// The size of each input column: its mean absolute value over the positions of an example, as the norm over all examples.
    pub const INPUT_ACTIVATION: Self = Self::new("input_activation", NeedShape::Column);
    /// The share of zeros in the output of each unit, after the activation that follows the layer.
    pub const OUTPUT_ZEROS: Self = Self::new("output_zeros", NeedShape::Output);
    /// The mean rank of the feature maps of each unit, after the activation that follows the layer.
    pub const OUTPUT_RANK: Self = Self::new("output_rank", NeedShape::Output);

    /// Creates an input from its name and shape.
    ///
    /// A name is made of segments `[a-z][a-z0-9_]*` joined by dots. Bare names belong to this project: prefix yours, as in
    /// `acme.activation_norm`.
    ///
    /// # Panics
    /// The name has other characters; in a constant this is an error of the compiler.
    #[must_use]
    pub const fn new(name: &'static str, shape: NeedShape) -> Self {
        check_name(name);
        Self { name, shape }
    }

    /// Returns the name of the input.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the shape of the input.
    #[must_use]
    pub const fn shape(&self) -> NeedShape {
        self.shape
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A set of inputs that a criterion looks at besides the weights, sorted by name.
///
/// The weights are always there. The inputs are collected into [`CriterionInputs`](crate::score::CriterionInputs) before a pruning.
///
/// ```
/// use pruning_burn::score::{Need, Needs};
/// let needs = Need::INITIAL_WEIGHT | Need::GRADIENT;
/// assert!(needs.contains(Need::GRADIENT) && !needs.contains(Need::FLOW));
/// assert_eq!(needs.to_string(), "gradient, initial_weight");
/// assert!(Needs::none().is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs(BTreeSet<Need>);

impl Needs {
    /// Creates an empty set, for a criterion that looks at the weights alone.
    #[must_use]
    pub const fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// Returns whether the set is empty, so that the weights alone are looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether these inputs include all of `other`.
    #[must_use]
    pub fn contains(&self, other: impl Into<Self>) -> bool {
        other.into().0.is_subset(&self.0)
    }

    /// Returns the inputs, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = Need> {
        self.0.iter().copied()
    }

    /// Returns these inputs except those of `other`.
    #[must_use]
    pub fn without(&self, other: impl Into<Self>) -> Self {
        Self(&self.0 - &other.into().0)
    }

    /// Two inputs of one name and different shapes.
    pub(crate) fn at_odds(&self) -> Option<(Need, Need)> {
        self.iter().zip(self.iter().skip(1)).find(|(one, next)| one.name == next.name)
    }
}

impl From<Need> for Needs {
    fn from(need: Need) -> Self {
        Self(BTreeSet::from([need]))
    }
}

impl From<&Needs> for Needs {
    fn from(needs: &Needs) -> Self {
        needs.clone()
    }
}

/// Whether there is nothing else among the needs.
impl PartialEq<Need> for Needs {
    fn eq(&self, need: &Need) -> bool {
        self.0.len() == 1 && self.0.contains(need)
    }
}

impl<T: Into<Self>> BitOr<T> for Needs {
    type Output = Self;

    fn bitor(mut self, other: T) -> Self {
        self.0.extend(other.into().0);
        self
    }
}

impl<T: Into<Needs>> BitOr<T> for Need {
    type Output = Needs;

    fn bitor(self, other: T) -> Needs {
        Needs::from(self) | other
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(|need| need.name).collect();
        f.write_str(if names.is_empty() { "weight".to_string() } else { names.join(", ") }.as_str())
    }
}
