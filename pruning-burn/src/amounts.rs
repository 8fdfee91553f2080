//! How much is pruned now: [`Amounts`].

use crate::recipe::Recipe;
use pruning_core::budget::{Amount, ChooseRules, Sparsity};

/// How much is pruned now: of the shared budget, and of a layer with a sparsity of its own.
pub(crate) struct Amounts<'a> {
    pub(crate) shared: Amount,
    pub(crate) own: &'a dyn Fn(Sparsity) -> Amount,
}

impl Amounts<'_> {
    pub(crate) fn rules<'a>(&self, recipe: &'a Recipe) -> ChooseRules<'a> {
        let rules = ChooseRules::new(self.shared).with_rounding(recipe.rounding);
        rules.with_allocator(recipe.allocator.as_deref()).with_compare(recipe.compare)
    }
}
