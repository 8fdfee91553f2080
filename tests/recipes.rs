//! Recipes that are wrong for a model, and recipes that are wrong.
