use burn_cubecl::cubecl::{self, prelude::*};

/// `max(value, 0)`; a NaN stays one.
#[cube]
pub(super) fn rectified(value: f32) -> f32 {
    select(value < 0.0, 0.0, value)
}
