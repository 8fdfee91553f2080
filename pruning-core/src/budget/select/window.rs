//! A window of keys: [`Window`].

/// Keys from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) low: u32,
    pub(super) high: u32,
}

impl Window {
    pub(super) const ALL: Self = Self { low: 0, high: u32::MAX };

    /// Returns the highest key of the window for which `test` holds, as it then does for all below; the lowest if it holds for none.
    pub(super) fn highest_where(self, test: impl Fn(u32) -> bool) -> u32 {
        let Self { mut low, mut high } = self;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if test(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }
}
