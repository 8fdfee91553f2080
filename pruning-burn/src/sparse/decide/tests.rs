//! Decisions by a timer that is made up: its noise is known, and so is what is true.

use crate::sparse::decide::*;
use crate::sparse::race::race;
use std::convert::Infallible;

/// A machine whose runs take what they should, times what else it does.
struct Machine {
    random: u64,
    /// How many runs there were, and their seconds.
    laps: usize,
    clock: f64,
    noise: Noise,
}

#[derive(Clone, Copy, Debug)]
enum Noise {
    None,
    /// Now and then a run takes up to thirty times as long.
    Peaks,
    /// Another program runs for some seconds, then not for some, and takes most of the machine.
    Load,
}

impl Machine {
    fn new(noise: Noise, seed: u64) -> Self {
        Self { random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, laps: 0, clock: 0.0, noise }
    }

    /// A number in `[0, 1)`.
    fn number(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    fn lap(&mut self, parts: &[f64]) -> Lap {
        self.laps += 1;
        let parts: Vec<f64> = parts.iter().map(|&seconds| self.taken(seconds)).collect();
        Lap { whole: parts.iter().sum(), parts }
    }

    fn taken(&mut self, seconds: f64) -> f64 {
        let (often, far) = (self.number(), self.number());
        let slow = match self.noise {
            Noise::None => 1.0,
            Noise::Peaks if often < 0.3 => 1.0 + 30.0 * far,
            Noise::Load if (self.clock / 0.37) as usize % 2 == 1 => 6.0,
            _ => 1.0,
        };
        let taken = seconds * slow * (1.0 + 0.02 * self.number());
        self.clock += taken;
        taken
    }
}

/// Products of a pass: seconds dense, and of each candidate.
struct Pass<'a>(&'a [(f64, &'a [f64])]);

impl Pass<'_> {
    fn decide(&self, budget: f64, machine: &mut Machine) -> Decision {
        let candidates: Vec<usize> = self.0.iter().map(|(_, candidates)| candidates.len()).collect();
        let decided = decide(&candidates, budget, |choice| {
            let seconds = self.0.iter().zip(choice).map(|((dense, candidates), c)| c.map_or(*dense, |c| candidates[c]));
            Ok::<_, Infallible>(machine.lap(&seconds.collect::<Vec<_>>()))
        });
        match decided {
            Ok(decision) => decision,
        }
    }
}

/// Twenty-eight layers, each four to 33 times as fast sparse.
fn sparse_layers() -> Vec<(f64, [f64; 1])> {
    (0..28).map(|i| (1e-4, [1e-4 / f64::from(4 + i)])).collect()
}

#[test]
fn noise_does_not_make_a_faster_pass_dense() {
    let layers = sparse_layers();
    let products: Vec<(f64, &[f64])> = layers.iter().map(|(dense, sparse)| (*dense, &sparse[..])).collect();
    for noise in [Noise::None, Noise::Peaks, Noise::Load] {
        for seed in 0..100 {
            for budget in [0.0, 0.2, 2.0] {
                let mut machine = Machine::new(noise, seed);
                let decision = Pass(&products).decide(budget, &mut machine);
                assert_ne!(decision.verdict, Some(Verdict::Slower), "{noise:?}, seed {seed}, {budget} s");
                let sparse = decision.chosen.iter().flatten().count();
                if budget == 2.0 {
                    assert_eq!((sparse, decision.verdict), (28, Some(Verdict::Faster)), "{noise:?}, seed {seed}");
                    let certain = decision.times.iter().flatten().filter(|t| t.certain).count();
                    assert!(certain > 20, "{noise:?}, seed {seed}: {certain}");
                }
            }
        }
    }
}

#[test]
fn a_pass_that_is_slower_as_a_whole_becomes_dense() {
    // Alone each sparse product is faster, but the rest of the pass takes longer after it.
    for noise in [Noise::None, Noise::Peaks, Noise::Load] {
        for seed in 0..50 {
            let mut machine = Machine::new(noise, seed);
            let decision = decide(&[1, 0], 20.0, |choice| {
                let sparse = choice[0].is_some();
                Ok::<_, Infallible>(machine.lap(if sparse { &[0.5e-3, 6.0e-3] } else { &[1e-3, 1e-3] }))
            });
            let Ok(decision) = decision;
            assert_eq!(
                (decision.chosen[0], decision.verdict),
                (Some(0), Some(Verdict::Slower)),
                "{noise:?}, seed {seed}"
            );
        }
    }
}

#[test]
fn what_the_budget_leaves_open_is_called_uncertain_and_goes_by_the_layers() {
    let decision = Pass(&[(0.4, &[0.1]), (0.2, &[0.3]), (0.1, &[])]).decide(2.0, &mut Machine::new(Noise::None, 1));
    assert_eq!(decision.chosen, [Some(0), None, None]);
    assert_eq!(decision.verdict, Some(Verdict::Uncertain));
    assert!(decision.times.iter().flatten().all(|t| !t.certain));
    assert!(decision.times[2].is_none() && decision.rounds < 7);
}

#[test]
fn equal_ways_are_rarely_called_unequal_however_often_they_are_compared() {
    let mut settled = 0;
    for seed in 0..1000 {
        let mut machine = Machine::new([Noise::Peaks, Noise::Load][seed as usize % 2], seed);
        let mut duel = Duel::default();
        let raced = race(
            2,
            2,
            f64::INFINITY,
            |_| Ok::<_, Infallible>(machine.lap(&[1e-3])),
            |laps| {
                if let [Some(ours), Some(theirs)] = laps {
                    duel.add(ours.whole, theirs.whole);
                }
                duel.settled().is_some()
            },
        );
        let Ok(rounds) = raced;
        settled += usize::from(duel.settled().is_some());
        assert!(rounds.len() == 1000 || duel.settled().is_some());
    }
    // One of a hundred on each side.
    assert!(settled <= 25, "{settled}");
}

#[test]
fn certainty_takes_few_rounds_where_there_is_no_doubt() {
    let mut machine = Machine::new(Noise::None, 3);
    let decision = Pass(&[(1e-3, &[1e-4]), (1e-3, &[2e-3, 3e-3])]).decide(10.0, &mut machine);
    assert_eq!((decision.chosen, decision.verdict), (vec![Some(0), None], Some(Verdict::Faster)));
    assert!(machine.laps < 60 && decision.rounds < 12, "{} laps", machine.laps);
}

#[test]
fn measuring_takes_the_budget_and_no_more_than_three_passes_beyond_it() {
    for candidates in [vec![1], vec![3, 1], vec![2, 0, 3], vec![0, 0]] {
        for seconds in [1e-3, 0.03, 0.3, 1.0, 10.0] {
            for budget in [0.0, 0.5, 2.0] {
                for noise in [Noise::None, Noise::Peaks, Noise::Load] {
                    let mut machine = Machine::new(noise, 7);
                    let (mut spent, mut longest) = (0.0, 0.0f64);
                    let each = seconds / candidates.len() as f64;
                    let decided = decide(&candidates, budget, |choice| {
                        // Alike, so that nothing is certain early.
                        let lap = machine.lap(
                            &choice.iter().map(|c| if c.is_some() { 0.969 * each } else { each }).collect::<Vec<_>>(),
                        );
                        (spent, longest) = (spent + lap.whole, longest.max(lap.whole));
                        Ok::<_, Infallible>(lap)
                    });
                    let what = format!("{candidates:?}, {seconds} s, {budget} s, {noise:?}");
                    assert!(decided.is_ok() && spent <= budget + 3.0 * longest, "{what}: {spent} s");
                    if budget == 0.0 {
                        assert!(machine.laps <= 3, "{what}: {} passes", machine.laps);
                    }
                }
            }
        }
    }
}
