//! Scores that are read each time that they are needed: the form of [`Scores`] for layers that do not fit into memory together.

use crate::budget::select::{Scores, ranks};
use crate::caught;
use crate::mask::Bits;
use crate::score::{NonFinite, Order, ScoreError, check_finite};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The scores of the units of a layer, as one read gives them.
#[derive(Clone, Debug)]
pub(crate) struct Reading<'v> {
    pub(crate) values: Cow<'v, [f32]>,
    pub(crate) order: Order,
    pub(crate) factor: f32,
    /// The scores in double precision by which the units rank, with the factor, if they are known.
    pub(crate) exact: Option<Vec<f64>>,
}

impl Reading<'_> {
    /// Returns the scores in memory.
    pub(crate) fn scores<'v>(&'v self, alive: Option<&'v Bits>) -> Result<Scores<'v>, NonFinite> {
        let alive = alive.map(Cow::Borrowed);
        match self.exact.as_deref().and_then(|exact| ranks(&[exact], Order::Value).pop()) {
            Some(ranks) => Scores::ranked(ranks, self.shown()?.collect(), alive),
            None => Scores::scaled(Cow::Borrowed(&self.values), self.order, alive, self.factor),
        }
    }

    /// Returns what each unit scores; all of them are finite.
    pub(super) fn shown(&self) -> Result<impl Iterator<Item = f32> + '_, NonFinite> {
        check_finite(&self.values)?;
        Ok(self.values.iter().map(|&value| self.factor * self.order.of(value)))
    }

    pub(crate) fn into_owned(self) -> Reading<'static> {
        Reading { values: Cow::Owned(self.values.into_owned()), exact: self.exact, ..self }
    }
}

type Read<'a> = dyn Fn(&mut dyn FnMut(&Reading<'_>)) -> Result<(), ScoreError> + Send + Sync + 'a;

/// Where the scores of a layer are read.
pub(super) struct Source<'a> {
    pub(super) len: usize,
    read: Box<Read<'a>>,
    /// The first error: allocators see no errors of scores, so that whoever calls them looks here.
    failure: Mutex<Option<ScoreError>>,
    /// Whether a read gave doubles.
    exact: AtomicBool,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("len", &self.len).field("failure", &self.failure()).finish_non_exhaustive()
    }
}

impl Source<'_> {
    /// Reads the scores, and returns what `take` makes of them; `None` after an error, which is noted.
    pub(super) fn read<R>(&self, take: impl FnOnce(&Reading<'_>) -> Result<R, ScoreError>) -> Option<R> {
        let (mut take, mut taken) = (Some(take), None);
        let read = caught(|| {
            (self.read)(&mut |reading| {
                if reading.exact.is_some() {
                    self.exact.store(true, Ordering::Relaxed);
                }
                let (expected, found) = (self.len, reading.values.len());
                taken = match take.take() {
                    _ if found != expected => Some(Err(ScoreError::Length { expected, found })),
                    Some(take) => Some(take(reading)),
                    None => taken.take(),
                };
            })
        });
        let none = || ScoreError::Length { expected: self.len, found: 0 };
        let read = read.unwrap_or_else(|message| Err(ScoreError::unread(message)));
        read.and_then(|()| taken.unwrap_or_else(|| Err(none()))).map_err(|error| self.fail(error)).ok()
    }

    pub(super) fn fail(&self, error: ScoreError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn failure(&self) -> Option<ScoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<'a> Scores<'a> {
    /// Creates the scores of `len` units that are read each time that they are needed, and not held in memory.
    ///
    /// Every method works as on scores in memory. One that looks at a score reads all of them once. A reader that fails, and a score that
    /// is NaN or infinite, give no scores; [`failure`](Self::failure) then has the error, and [`allocate`](crate::budget::allocate)
    /// returns it. Several threads may read at a time.
    ///
    /// ```
    /// use pruning_core::budget::{Scores, share_highest};
    /// use pruning_core::score::Order;
    /// let large = Scores::read_again(4, Order::Value, None, || Ok::<_, std::io::Error>([9.0, 8.0, 7.0, 6.0]));
    /// let small = Scores::new(&[5.0, 1.0, 1.0, 1.0], Order::Value)?;
    /// assert_eq!(share_highest(&[&large, &small], &[(1, 4); 2], 5), Some(vec![4, 1]));
    /// assert_eq!(large.keep_highest(1).to_bools(), [true, false, false, false]);
    /// let lost = Scores::read_again(4, Order::Value, None, || Err::<[f32; 4], _>("the file is gone"));
    /// assert_eq!(lost.alive_scores().count(), 0);
    /// assert_eq!(lost.failure().unwrap().to_string(), "the scores could not be read: the file is gone");
    /// # Ok::<(), pruning_core::score::NonFinite>(())
    /// ```
    ///
    /// # Panics
    /// `alive` has another length.
    #[must_use]
    pub fn read_again<V: AsRef<[f32]>, E: fmt::Display>(
        len: usize,
        order: Order,
        alive: Option<&'a Bits>,
        read: impl Fn() -> Result<V, E> + Send + Sync + 'a,
    ) -> Self {
        Self::of_source(len, alive.map(Cow::Borrowed), move |take| {
            let values = read().map_err(ScoreError::unread)?;
            take(&Reading { values: Cow::Borrowed(values.as_ref()), order, factor: 1.0, exact: None });
            Ok(())
        })
    }

    /// Creates the scores that `map` makes of the scores of the units that are alive, in order of index; all of them are alive.
    ///
    /// They are held in memory if these scores are. Otherwise each read of them reads these scores.
    ///
    /// ```
    /// use pruning_core::budget::Scores;
    /// use pruning_core::score::Order;
    /// let scores = Scores::new(&[1.0, -4.0, 2.0], Order::Absolute)?;
    /// let squares = scores.mapped(|scores| scores.iter().map(|score| score * score).collect())?;
    /// assert_eq!(squares.alive_scores().collect::<Vec<_>>(), [1.0, 16.0, 4.0]);
    /// # Ok::<(), pruning_core::score::NonFinite>(())
    /// ```
    ///
    /// # Errors
    /// A score that `map` returns is not finite, and is held in memory.
    pub fn mapped(&'a self, map: impl Fn(Vec<f32>) -> Vec<f32> + Send + Sync + 'a) -> Result<Self, NonFinite> {
        if self.source.is_none() {
            return Self::scaled(Cow::Owned(map(self.alive_scores().collect())), Order::Value, None, 1.0);
        }
        let mapped = move || {
            let scores: Vec<f32> = self.alive_scores().collect();
            self.failure().map_or_else(|| Ok(map(scores)), Err)
        };
        Ok(Self::read_again(self.alive(), Order::Value, None, mapped))
    }

    /// Returns the first error of reading the scores; there is none if they are in memory.
    #[must_use]
    pub fn failure(&self) -> Option<ScoreError> {
        self.source.as_ref().and_then(Source::failure)
    }

    pub(crate) fn of_source(
        len: usize,
        alive: Option<Cow<'a, Bits>>,
        read: impl Fn(&mut dyn FnMut(&Reading<'_>)) -> Result<(), ScoreError> + Send + Sync + 'a,
    ) -> Self {
        assert!(alive.as_deref().is_none_or(|alive| alive.len() == len), "one bit for each score");
        let alive_len = alive.as_deref().map_or(len, Bits::count_ones);
        let source = Source { len, read: Box::new(read), failure: Mutex::default(), exact: AtomicBool::default() };
        Self { source: Some(source), alive, alive_len, ..Self::empty() }
    }

    /// Returns whether a read gave doubles.
    pub(crate) fn were_double(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.exact.load(Ordering::Relaxed))
    }

    /// Gives `take` the scores as a read gives them; `None` after an error.
    pub(super) fn reading<R>(&self, take: impl FnOnce(&Reading<'_>) -> Result<R, ScoreError>) -> Option<R> {
        match &self.source {
            Some(source) => source.read(take),
            None => {
                let values = Cow::Borrowed(&*self.values);
                take(&Reading { values, order: self.order, factor: self.factor, exact: None }).ok()
            }
        }
    }

    /// Gives `take` the scores in memory, if they are not there; `None` after an error.
    pub(super) fn held<R>(source: &Source<'_>, alive: Option<&Bits>, take: impl FnOnce(&Scores<'_>) -> R) -> Option<R> {
        source.read(|reading| Ok(take(&reading.scores(alive)?)))
    }
}
