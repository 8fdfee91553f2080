//! When pruning happens, and how far each time: [`Schedule`].

mod curve;
mod grow;
mod initialization;

use curve::sparsity_at;

pub use curve::{Curve, CurveError};
pub use grow::{Anneal, Grow, Update, swap};
pub use initialization::Initialization;

use crate::budget::{Amount, Sparsity};
use crate::plugin::Configured;
use std::fmt;

/// When pruning happens. Steps are numbered from 0 and mean what the caller counts: batches, epochs or rounds.
///
/// ```
/// use pruning_core::budget::{Amount, Sparsity};
/// use pruning_core::schedule::{Rounds, Schedule};
/// let schedule = Schedule::Iterative { begin: 100, every: 50, rounds: Rounds::ToTarget(2) };
/// let target = Sparsity::new(0.75)?;
/// let event = schedule.due(150, target).expect("the second round");
/// assert_eq!((event.round, event.rounds), (2, 2));
/// assert_eq!(schedule.amount(&event, target)?, Amount::OfTotal(target));
/// assert_eq!(schedule.due(151, target), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Prunes once, to the full target.
    OneShot {
        /// The step of the pruning.
        at: usize,
    },
    /// Prunes in rounds that each remove the same fraction of what remains.
    Iterative {
        /// The step of the first round.
        begin: usize,
        /// The steps from round to round, at least 1.
        every: usize,
        /// The form in which the rounds are given.
        rounds: Rounds,
    },
    /// Prunes from an initial to the full sparsity along a curve (Zhu & Gupta 2017, section 3).
    Gradual {
        /// The first step.
        begin: usize,
        /// The last step, above `begin`, which reaches the target.
        end: usize,
        /// The steps between prunings, at least 1.
        every: usize,
        /// The sparsity at the first step.
        initial: Sparsity,
        /// The shape of the sparsity over time.
        curve: Configured<dyn Curve>,
    },
}

/// The rounds of an iterative schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rounds {
    /// A number of rounds to the target sparsity `s`: after round `r` of `R` the density is `(1 - s)^(r / R)`.
    ToTarget(usize),
    /// A fraction of what remains for each round, until the target is reached.
    Fraction(Sparsity),
    /// A fraction of what remains for each round, and the number of rounds; the target follows from them.
    FractionTimes(Sparsity, usize),
}

/// One pruning of a schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The step at which the pruning is due.
    pub step: usize,
    /// The number of the pruning, from 1.
    pub round: usize,
    /// The number of prunings in the schedule.
    pub rounds: usize,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {} of {}, step {}", self.round, self.rounds, self.step)
    }
}

impl Schedule {
    /// Returns how many prunings there are on the way to `target`.
    #[must_use]
    pub fn rounds(&self, target: Sparsity) -> usize {
        match self {
            Self::OneShot { .. } => 1,
            Self::Iterative { rounds: Rounds::ToTarget(n) | Rounds::FractionTimes(_, n), .. } => *n,
            Self::Iterative { rounds: Rounds::Fraction(fraction), .. } => {
                // A hair less than the quotient, so that 1 - 0.8^5 by fifths takes 5 rounds and not 6.
                let exact = target.density().ln() / fraction.density().ln();
                ((exact - 1e-9).ceil() as usize).max(1)
            }
            Self::Gradual { begin, end, every, .. } => {
                end.saturating_sub(*begin).div_ceil((*every).max(1)).saturating_add(1)
            }
        }
    }

    /// Returns the sparsity in the end: `asked`, or the result of the rounds where nothing is asked.
    #[must_use]
    pub fn target(&self, asked: Option<Sparsity>) -> Option<Sparsity> {
        match self {
            Self::Iterative { rounds: Rounds::FractionTimes(fraction, n), .. } => {
                Sparsity::new(1.0 - fraction.density().powi(i32::try_from(*n).unwrap_or(i32::MAX))).ok()
            }
            _ => asked,
        }
    }

    /// Returns the step of the first pruning.
    #[must_use]
    pub fn first(&self) -> usize {
        match *self {
            Self::OneShot { at } => at,
            Self::Iterative { begin, .. } | Self::Gradual { begin, .. } => begin,
        }
    }

    /// Returns the step of the last pruning on the way to `target`.
    #[must_use]
    pub fn last(&self, target: Sparsity) -> usize {
        match *self {
            Self::OneShot { at } => at,
            Self::Iterative { begin, every, .. } => {
                begin.saturating_add(every.saturating_mul(self.rounds(target).saturating_sub(1)))
            }
            Self::Gradual { end, .. } => end,
        }
    }

    /// Returns the step of the latest pruning up to `step` on the way to `target`.
    #[must_use]
    pub fn latest(&self, step: usize, target: Sparsity) -> Option<usize> {
        let since = step.checked_sub(self.first())?;
        Some(match *self {
            Self::OneShot { at } => at,
            Self::Gradual { end, .. } if step >= end => end,
            Self::Gradual { begin, every, .. } => begin + since / every.max(1) * every,
            Self::Iterative { begin, every, .. } => {
                begin + every * (since / every.max(1)).min(self.rounds(target).saturating_sub(1))
            }
        })
    }

    /// Returns the step of the first pruning at `step` or later on the way to `target`; `None` after the last pruning.
    #[must_use]
    pub fn next(&self, step: usize, target: Sparsity) -> Option<usize> {
        let on_grid = |begin: usize, every: usize| {
            let steps = step.saturating_sub(begin).div_ceil(every.max(1)).checked_mul(every);
            steps.and_then(|steps| begin.checked_add(steps))
        };
        let next = match *self {
            Self::OneShot { at } => Some(at),
            Self::Iterative { begin, every, .. } => on_grid(begin, every),
            Self::Gradual { begin, end, every, .. } => Some(on_grid(begin, every).map_or(end, |next| next.min(end))),
        };
        next.filter(|next| *next >= step && *next <= self.last(target))
    }

    /// Returns the pruning that is due at `step` on the way to `target`; it takes a few integer operations.
    #[must_use]
    pub fn due(&self, step: usize, target: Sparsity) -> Option<Event> {
        let rounds = || self.rounds(target);
        let round = match *self {
            Self::OneShot { at } => (step == at).then_some(1),
            Self::Iterative { begin, every, .. } => {
                let since = step.checked_sub(begin).filter(|since| since.is_multiple_of(every));
                since.map(|since| (since / every.max(1)).saturating_add(1)).filter(|&round| round <= rounds())
            }
            Self::Gradual { end, .. } if step == end => Some(rounds()),
            Self::Gradual { begin, end, every, .. } => {
                let since = step.checked_sub(begin).filter(|since| since.is_multiple_of(every) && step < end);
                since.map(|since| (since / every.max(1)).saturating_add(1))
            }
        };
        round.map(|round| Event { step, round, rounds: rounds() })
    }

    /// Returns how much `event` prunes a layer with a sparsity of its own, which reaches it with the last event as the others do.
    ///
    /// # Errors
    /// The same as for [`amount`](Self::amount).
    pub fn own_amount(&self, event: &Event, target: Sparsity) -> Result<Amount, CurveError> {
        match self {
            // A fraction of what remains leads to the shared target, not to this one.
            Self::Iterative { begin, every, .. } => {
                let rounds = Rounds::ToTarget(event.rounds);
                Self::Iterative { begin: *begin, every: *every, rounds }.amount(event, target)
            }
            _ => self.amount(event, target),
        }
    }

    /// Returns how much `event` prunes layers that end at `target`.
    ///
    /// # Errors
    /// The curve panics, or returns no sparsity between the initial one and the target.
    pub fn amount(&self, event: &Event, target: Sparsity) -> Result<Amount, CurveError> {
        Ok(match self {
            // The target itself, not what a power or a curve makes of it.
            _ if event.round == event.rounds
                && !matches!(self, Self::Iterative { rounds: Rounds::FractionTimes(..), .. }) =>
            {
                Amount::OfTotal(target)
            }
            Self::Iterative { rounds: Rounds::Fraction(fraction) | Rounds::FractionTimes(fraction, _), .. } => {
                Amount::OfRemaining(*fraction)
            }
            Self::OneShot { .. } => Amount::OfTotal(target),
            Self::Iterative { rounds: Rounds::ToTarget(n), .. } => {
                let density = target.density().powf(event.round as f64 / *n as f64);
                Amount::OfTotal(Sparsity::new(1.0 - density).unwrap_or(target))
            }
            Self::Gradual { begin, end, initial, curve, .. } => {
                let progress = event.step.saturating_sub(*begin) as f64 / end.saturating_sub(*begin).max(1) as f64;
                Amount::OfTotal(sparsity_at(curve, *initial, target, progress)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Linear;

    impl Curve for Linear {
        fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64 {
            initial.value() + progress * (target.value() - initial.value())
        }
    }

    #[derive(Debug)]
    struct Says(f64);

    impl Curve for Says {
        fn sparsity(&self, _: Sparsity, _: Sparsity, _: f64) -> f64 {
            assert!(self.0 != 7.0, "seven");
            self.0
        }
    }

    fn s(value: f64) -> Sparsity {
        Sparsity::new(value).unwrap()
    }

    fn steps(schedule: &Schedule, target: Sparsity) -> Vec<(usize, usize)> {
        (0..200).filter_map(|step| schedule.due(step, target)).map(|e| (e.step, e.round)).collect()
    }

    #[test]
    fn rounds_fall_due_at_their_steps_and_never_again() {
        let schedule = Schedule::Iterative { begin: 3, every: 5, rounds: Rounds::ToTarget(3) };
        assert_eq!(steps(&schedule, s(0.9)), [(3, 1), (8, 2), (13, 3)]);
        assert_eq!(schedule.last(s(0.9)), 13);
        let latest: Vec<_> = [2, 3, 7, 8, 12, 13, 14, 99].map(|step| schedule.latest(step, s(0.9))).into();
        assert_eq!(latest, [None, Some(3), Some(3), Some(8), Some(8), Some(13), Some(13), Some(13)]);
        assert_eq!(steps(&Schedule::OneShot { at: 7 }, s(0.5)), [(7, 1)]);
    }

    #[test]
    fn the_next_pruning_is_the_first_that_falls_due() {
        for schedule in [
            Schedule::OneShot { at: 7 },
            Schedule::Iterative { begin: 3, every: 5, rounds: Rounds::ToTarget(3) },
            Schedule::Iterative { begin: 0, every: 1, rounds: Rounds::Fraction(s(0.3)) },
        ] {
            let due: Vec<usize> = steps(&schedule, s(0.9)).into_iter().map(|(step, _)| step).collect();
            for from in 0..100 {
                let expected = due.iter().copied().find(|step| *step >= from);
                assert_eq!(schedule.next(from, s(0.9)), expected, "{schedule:?} from {from}");
            }
        }
        let far = Schedule::Iterative { begin: usize::MAX - 1, every: 3, rounds: Rounds::ToTarget(3) };
        assert_eq!(far.next(usize::MAX, s(0.9)), None);
    }

    #[test]
    fn no_numbers_of_a_schedule_made_by_hand_panic() {
        for (begin, end, every) in [(0, usize::MAX, 1), (5, 3, 2), (0, 9, 0), (usize::MAX, usize::MAX, usize::MAX)] {
            let curve = Configured::new(
                "linear",
                serde_json::Value::Null,
                std::sync::Arc::new(Linear) as std::sync::Arc<dyn Curve>,
            );
            let initial = Sparsity::ZERO;
            for schedule in [
                Schedule::Gradual { begin, end, every, initial, curve },
                Schedule::Iterative { begin, every, rounds: Rounds::ToTarget(3) },
                Schedule::Iterative { begin, every, rounds: Rounds::ToTarget(usize::MAX) },
                Schedule::Iterative { begin, every, rounds: Rounds::Fraction(s(1e-17)) },
            ] {
                for step in [0, 1, 3, 5, usize::MAX] {
                    let _ = (schedule.due(step, s(0.5)), schedule.next(step, s(0.5)), schedule.latest(step, s(0.5)));
                    let event = schedule.due(step, s(0.5));
                    assert!(event.is_none_or(|event| schedule.amount(&event, s(0.5)).is_ok()));
                }
            }
        }
    }

    #[test]
    fn a_curve_outside_of_its_range_is_an_error_that_names_it() {
        let said = |value: f64| {
            let curve = std::sync::Arc::new(Says(value)) as std::sync::Arc<dyn Curve>;
            let curve = Configured::new("says", serde_json::Value::Null, curve);
            let schedule = Schedule::Gradual { begin: 0, end: 10, every: 1, initial: s(0.2), curve };
            schedule.amount(&Event { step: 5, round: 6, rounds: 11 }, s(0.5))
        };
        assert_eq!(said(0.3), Ok(Amount::OfTotal(s(0.3))));
        // Rounding.
        assert_eq!(said(0.5 + 1e-15), Ok(Amount::OfTotal(s(0.5))));
        for value in [f64::NAN, f64::INFINITY, -0.1, 0.1, 0.6, 1.0] {
            let error = said(value).unwrap_err().to_string();
            assert_eq!(error, format!("curve says gave {value} at progress 0.5, outside of 0.2 to 0.5"));
        }
        assert_eq!(said(7.0).unwrap_err().to_string(), "curve says panicked: seven");
    }

    #[test]
    fn equal_rounds_are_geometric_in_density() {
        let schedule = Schedule::Iterative { begin: 0, every: 1, rounds: Rounds::ToTarget(2) };
        let at = |round| schedule.amount(&Event { step: 0, round, rounds: 2 }, s(0.75)).unwrap();
        assert_eq!(at(1), Amount::OfTotal(s(0.5)));
        assert_eq!(at(2), Amount::OfTotal(s(0.75)));
    }

    #[test]
    fn a_fraction_of_what_remains_stops_at_the_target() {
        let schedule = Schedule::Iterative { begin: 0, every: 1, rounds: Rounds::Fraction(s(0.2)) };
        assert_eq!(schedule.rounds(s(1.0 - 0.8f64.powi(5))), 5);
        assert_eq!(schedule.rounds(s(0.5)), 4);
        let times = Schedule::Iterative { begin: 0, every: 1, rounds: Rounds::FractionTimes(s(0.2), 3) };
        let event = Event { step: 2, round: 3, rounds: 3 };
        assert_eq!(schedule.amount(&event, s(0.4)), Ok(Amount::OfTotal(s(0.4))));
        assert_eq!(times.amount(&event, s(0.4)), Ok(Amount::OfRemaining(s(0.2))));
        assert!((times.target(None).unwrap().value() - (1.0 - 0.512)).abs() < 1e-12);
    }

    #[test]
    fn a_layer_with_a_sparsity_of_its_own_ends_there() {
        for rounds in [Rounds::Fraction(s(0.2)), Rounds::FractionTimes(s(0.2), 11), Rounds::ToTarget(11)] {
            let schedule = Schedule::Iterative { begin: 0, every: 1, rounds };
            let at = |round| match schedule.own_amount(&Event { step: 0, round, rounds: 11 }, s(0.3)).unwrap() {
                Amount::OfTotal(sparsity) => sparsity.value(),
                other => panic!("{other:?}"),
            };
            assert_eq!(at(11), 0.3);
            assert!((1..11).all(|round| at(round) < at(round + 1)));
        }
    }
}
