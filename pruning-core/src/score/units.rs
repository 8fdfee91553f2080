//! What is kept or removed together, with its scores: [`Units`].

use crate::mask::Bits;
use crate::score::granularity::{Band, Run};
use crate::score::{Granularity, MatrixLayout, ScoreError};

mod read;

use read::ReadElements;
pub use read::TakeElements;

/// The scores of all elements of a parameter, in memory order.
#[derive(Clone, Copy, Debug)]
pub struct ElementScores<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) exact: Option<&'a [f64]>,
    pub(crate) alive: Option<&'a Bits>,
}

impl<'a> ElementScores<'a> {
    /// Creates scores in single precision, with no element pruned yet.
    #[must_use]
    pub fn new(values: &'a [f32]) -> Self {
        Self { values, exact: None, alive: None }
    }

    /// Sets the same scores in double precision, by which the elements are then ranked.
    ///
    /// # Panics
    /// The number of exact scores differs from the number of scores.
    #[must_use]
    pub fn with_exact(self, exact: Option<&'a [f64]>) -> Self {
        assert!(exact.is_none_or(|exact| exact.len() == self.values.len()), "an exact score for each element");
        Self { exact, ..self }
    }

    /// Sets which elements are not pruned yet; pruned elements count as zero.
    ///
    /// # Panics
    /// The number of bits differs from the number of scores.
    #[must_use]
    pub fn with_alive(self, alive: Option<&'a Bits>) -> Self {
        assert!(alive.is_none_or(|alive| alive.len() == self.values.len()), "one bit for each element");
        Self { alive, ..self }
    }
}

/// The units of a candidate: sets of elements in one or several parameters, each of which is kept or removed as a whole.
///
/// ```
/// use pruning_core::score::{ElementScores, Granularity, MatrixLayout, Order, Reduction, Units};
/// let scores = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let rows = Units::of(Granularity::CHANNEL, MatrixLayout::row_major(2, 3), ElementScores::new(&scores));
/// assert_eq!(rows.reduce(Reduction::Sum, Order::Value).unwrap(), [6.0, 15.0]);
///
/// // Two units on the rows of one parameter and on the columns of another, whose middle column belongs to no unit.
/// let units = [Some(0), None, Some(1)];
/// let both = Units::coupled(2)
///     .with_part("fc1.weight", ElementScores::new(&scores), [1, 2, 3], &[Some(0), Some(1)], true)
///     .with_part("fc2.weight", ElementScores::new(&scores), [2, 3, 1], &units, false);
/// assert_eq!(both.reduce(Reduction::Sum, Order::Value).unwrap(), [6.0 + 1.0 + 4.0, 15.0 + 3.0 + 6.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Units<'a> {
    count: usize,
    parts: Vec<Part<'a>>,
    /// Where the scores of the only part come from, if they are not in memory.
    read: Option<ReadElements<'a>>,
}

/// The units of a candidate in one of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    /// The parameter, if the candidate is named after another one.
    pub(crate) path: Option<&'a str>,
    pub(crate) elements: ElementScores<'a>,
    tiling: Tiling,
    /// Whether a unit is gone when all its elements here are pruned.
    makes: bool,
}

/// Where units lie.
#[derive(Clone, Debug)]
enum Tiling {
    /// In the matrix view of a parameter.
    Matrix(Granularity, MatrixLayout),
    /// Along an axis: lines of memory, each with the same runs.
    Axis { lines: usize, len: usize, runs: Vec<Run> },
}

impl<'a> Units<'a> {
    /// Creates the units of a granularity in one parameter.
    ///
    /// # Panics
    /// The number of scores differs from the number of elements of the layout.
    #[must_use]
    pub fn of(granularity: Granularity, layout: MatrixLayout, elements: ElementScores<'a>) -> Self {
        assert_eq!(elements.values.len(), layout.len(), "one score for each element");
        let tiling = Tiling::Matrix(granularity, layout);
        let parts = vec![Part { path: None, elements, tiling, makes: true }];
        Self { count: granularity.units(&layout), parts, read: None }
    }

    /// Creates the units of a granularity in one parameter whose scores are read each time that they are needed, and not held.
    ///
    /// `read` gives all scores, in memory order, and their factor to the function that it is called with, or returns an error. Several
    /// threads may read at a time. Choosing reads the scores of a shared budget twice to count what each layer keeps (five times if they
    /// are in double precision), and once more to choose the units. The factor is that of
    /// [`Candidate::with_factor`](crate::budget::Candidate::with_factor), which does not count here.
    ///
    /// ```
    /// use pruning_core::budget::{Amount, Candidate, ChooseRules, Sparsity, choose_masks};
    /// use pruning_core::score::{ElementScores, Granularity, MatrixLayout, TakeElements, Units};
    /// let layout = MatrixLayout::row_major(2, 2);
    /// // Each read opens a file, in a real program.
    /// let read = |take: &mut TakeElements<'_>| {
    ///     take(ElementScores::new(&[0.4, 0.1, 0.3, 0.2]), 1.0);
    ///     Ok(())
    /// };
    /// let units = Units::read_again(Granularity::Element, layout, None, read);
    /// let candidate = Candidate::new("fc1.weight", layout, units).with_own(Some(Amount::OfTotal(Sparsity::new(0.5)?)));
    /// let chosen = choose_masks(&[candidate], &ChooseRules::new(Amount::Count(0)))?;
    /// assert_eq!(chosen[0].keep.to_bools(), [true, false, true, false]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// The number of bits differs from the number of elements of the layout.
    #[must_use]
    pub fn read_again(
        granularity: Granularity,
        layout: MatrixLayout,
        alive: Option<&'a Bits>,
        read: impl Fn(&mut TakeElements<'_>) -> Result<(), ScoreError> + Send + Sync + 'a,
    ) -> Self {
        assert!(alive.is_none_or(|alive| alive.len() == layout.len()), "one bit for each element");
        let (elements, tiling) =
            (ElementScores { alive, ..ElementScores::new(&[]) }, Tiling::Matrix(granularity, layout));
        let parts = vec![Part { path: None, elements, tiling, makes: true }];
        Self { count: granularity.units(&layout), parts, read: Some(ReadElements::new(read)) }
    }

    /// Creates a coupled group of `count` units that has no parameters yet.
    #[must_use]
    pub fn coupled(count: usize) -> Self {
        Self { count, parts: Vec::new(), read: None }
    }

    /// Adds a parameter of shape `[outer, axis, inner]`, with the unit to which each position of the axis belongs.
    ///
    /// A unit is gone when nothing is left of it in any parameter with `makes`, provided that all of these parameters are masked.
    ///
    /// # Panics
    /// The shape does not fit the scores or the positions, or a unit is not below the number of units.
    #[must_use]
    pub fn with_part(
        mut self,
        path: &'a str,
        elements: ElementScores<'a>,
        [outer, axis, inner]: [usize; 3],
        units: &[Option<usize>],
        makes: bool,
    ) -> Self {
        assert_eq!(elements.values.len(), outer * axis * inner, "{path}: one score for each element");
        assert_eq!(units.len(), axis, "{path}: a unit, or none, for each position");
        let mut runs: Vec<Run> = Vec::new();
        for (position, unit) in units.iter().enumerate().filter_map(|(p, unit)| Some((p * inner, (*unit)?))) {
            assert!(unit < self.count, "{path}: unit {unit} of {}", self.count);
            match runs.last_mut() {
                Some((last, places)) if *last == unit && places.end == position => places.end += inner,
                _ => runs.push((unit, position..position + inner)),
            }
        }
        let tiling = Tiling::Axis { lines: outer, len: axis * inner, runs };
        self.parts.push(Part { path: Some(path), elements, tiling, makes });
        self
    }

    /// Returns the number of units.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns whether there are no units.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the units that are not gone yet; `None` means all of them.
    #[must_use]
    pub fn alive(&self) -> Option<Bits> {
        let makers = || self.parts.iter().filter(|part| part.makes);
        if makers().count() == 0 || makers().any(|part| part.elements.alive.is_none()) {
            return None;
        }
        let mut units = Bits::zeros(self.count);
        for (part, elements) in makers().filter_map(|part| Some((part, part.elements.alive?))) {
            part.bands().for_each(|band| band.alive(elements, &mut units));
        }
        Some(units)
    }

    /// Returns granularity, layout and element scores of units in one parameter; `None` for a coupled group.
    pub(crate) fn in_matrix(&self) -> Option<(Granularity, &MatrixLayout, ElementScores<'a>)> {
        match &self.parts[..] {
            [Part { tiling: Tiling::Matrix(granularity, layout), elements, .. }] => {
                Some((*granularity, layout, *elements))
            }
            _ => None,
        }
    }

    /// Returns whether the scores are not in memory.
    pub(crate) fn is_read_again(&self) -> bool {
        self.read.is_some()
    }

    /// Reads the scores, and returns what `take` makes of the same units in memory and of their factor.
    pub(crate) fn read<R>(&self, factor: f32, take: impl FnOnce(Units<'_>, f32) -> R) -> Result<R, ScoreError> {
        match (&self.read, self.in_matrix()) {
            (Some(read), Some((granularity, layout, ElementScores { alive, .. }))) => read
                .read(layout.len(), |elements, factor| {
                    take(Units::of(granularity, *layout, elements.with_alive(alive)), factor)
                }),
            _ => Ok(take(self.clone(), factor)),
        }
    }

    pub(crate) fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }

    /// Returns whether some scores are known in double precision.
    pub(crate) fn is_exact(&self) -> bool {
        self.parts.iter().any(|part| part.elements.exact.is_some())
    }
}

impl Part<'_> {
    /// Returns the elements in memory order, with the units to which they belong.
    pub(crate) fn bands(&self) -> impl Iterator<Item = Band<'_>> {
        let (matrix, axis) = match &self.tiling {
            Tiling::Matrix(granularity, layout) => (Some(granularity.bands(layout)), None),
            Tiling::Axis { lines, len, runs } => (None, (len * lines > 0).then(|| Band::of_runs(*lines, *len, runs))),
        };
        matrix.into_iter().flatten().chain(axis)
    }

    /// Returns whether every element belongs to a unit.
    pub(crate) fn is_covered(&self) -> bool {
        match &self.tiling {
            Tiling::Matrix(..) => true,
            Tiling::Axis { len, runs, .. } => runs.iter().map(|(_, places)| places.len()).sum::<usize>() == *len,
        }
    }
}

#[cfg(test)]
mod tests;
