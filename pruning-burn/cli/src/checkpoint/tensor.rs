//! A tensor of a checkpoint: [`TensorEntry`].

use crate::checkpoint::element::ElementType;
use burn::module::ParamId;

/// A tensor of a checkpoint, without its bytes.
#[derive(Clone, Debug)]
pub struct TensorEntry {
    pub(crate) name: String,
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: u64,
    /// Burn's name for the layer around it.
    pub(crate) kind: String,
    /// Whether the file has its two axes the other way round than Burn.
    pub(crate) turned: bool,
    pub(crate) id: ParamId,
}

impl TensorEntry {
    pub(crate) fn new(name: String, element: ElementType, shape: Vec<usize>, bytes: u64) -> Self {
        Self { name, element, shape, bytes, kind: String::new(), turned: false, id: ParamId::new() }
    }

    /// Returns the name in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the type of the elements.
    #[must_use]
    pub fn element(&self) -> &ElementType {
        &self.element
    }

    /// Returns the shape in the file.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns the number of bytes in the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns Burn's name for the type of the layer, as far as name and shape tell it.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the shape in Burn, which a recipe and its report speak of.
    #[must_use]
    pub fn burn_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.turned {
            shape.reverse();
        }
        if shape.is_empty() {
            shape.push(1);
        }
        shape
    }

    /// Returns whether a visitor sees it: a float of at most six axes.
    #[must_use]
    pub fn is_parameter(&self) -> bool {
        self.element.is_prunable() && self.shape.len() <= 6
    }
}
