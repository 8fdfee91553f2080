//! The weights of the targets of a recipe, each read when its turn comes: [`Weights`].

use crate::PruneError;
use crate::host;
use crate::layers::Layer;
use crate::targets::Selection;
use crate::walk::{self, Position, Visit};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use pruning_core::caught;
use pruning_core::mask::Bits;
use pruning_core::score::MatrixLayout;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The weights of the targets of a module.
///
/// A module may be larger than memory, if its parameters are lazy and made anew by each visit, as those of a file are. One visit gives the
/// parameters, and each of them is read, and dropped, when its target is scored.
pub(crate) struct Weights<'a, M> {
    module: &'a M,
    /// The place of each target, by its path.
    places: BTreeMap<String, usize>,
    /// The parameters that the last visit gave and that nobody has read yet.
    open: Mutex<Vec<Option<Box<dyn Weight>>>>,
}

impl<'a, M: Module> Weights<'a, M> {
    pub(crate) fn new(module: &'a M, all: &[Layer], selection: &Selection) -> Self {
        let places = selection.targets.iter().enumerate().map(|(place, t)| (all[t.layer].path.clone(), place));
        let open = Mutex::new(selection.targets.iter().map(|_| None).collect());
        Self { module, places: places.collect(), open }
    }

    /// Returns the place of the target at a path.
    pub(crate) fn place(&self, path: &str) -> Option<usize> {
        self.places.get(path).copied()
    }

    /// Returns the matrix of a target, with zeros where it is pruned already.
    pub(crate) fn read(&self, place: usize, layer: &Layer, alive: Option<&Bits>) -> Result<Tensor<2>, PruneError> {
        let unread = |message| PruneError::Unread { path: layer.path.clone(), message };
        // Whoever made the parameter reads a file, and has no other way to say that it failed.
        let matrix = caught(|| self.take(place).map(|weight| weight.matrix(&layer.layout, alive)));
        matrix.map_err(unread)?.ok_or_else(|| unread("the model does not show it any more".to_string()))
    }

    fn take(&self, place: usize) -> Option<Box<dyn Weight>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open[place].is_none() {
            walk::visit(self.module, &mut Found { places: &self.places, open: &mut open });
        }
        open[place].take()
    }
}

impl<M> fmt::Debug for Weights<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights").field("places", &self.places).finish_non_exhaustive()
    }
}

/// A parameter of any rank.
trait Weight: Send {
    fn matrix(self: Box<Self>, layout: &MatrixLayout, alive: Option<&Bits>) -> Tensor<2>;
}

impl<const D: usize> Weight for Param<Tensor<D>> {
    fn matrix(self: Box<Self>, layout: &MatrixLayout, alive: Option<&Bits>) -> Tensor<2> {
        let base = self.base().without_autodiff();
        // What a file gave is not held twice.
        drop(self);
        let base = match alive {
            None => base,
            Some(bits) => {
                let keep = host::keep_on(bits, &base.device()).reshape(base.shape()).float();
                let dtype = base.dtype();
                base * keep.cast(dtype)
            }
        };
        host::to_matrix(base, layout)
    }
}

struct Found<'a> {
    places: &'a BTreeMap<String, usize>,
    open: &'a mut [Option<Box<dyn Weight>>],
}

impl Visit for Found<'_> {
    fn visit_float<const D: usize>(&mut self, at: &Position, param: &Param<Tensor<D>>) {
        if at.carried().is_none()
            && let Some(&place) = self.places.get(at.path().as_str())
        {
            self.open[place].get_or_insert_with(|| Box::new(param.clone()));
        }
    }
}
