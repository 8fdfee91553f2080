//! Going through the rounds: [`IterativePruning`].

use crate::layers::layers;
use crate::rounds::folder::{Folder, State, Trained};
use crate::rounds::round::rewound_to;
use crate::rounds::{History, Round, RoundReport, RoundsError, model_file, ticket_file};
use crate::score::needed::at_odds;
use crate::score::{CriterionInputs, Needs};
use crate::snapshot::apart;
use crate::store::{load, save};
use crate::targets::Selection;
use crate::{PruneError, Pruner, Session};
use burn::module::Module;
use pruning_core::budget::Sparsity;
use pruning_core::caught;
use pruning_core::report::Report;
use pruning_core::schedule::Initialization;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

/// Rounds of training and pruning by one recipe, which can go on after an interruption.
///
/// The [module](super) has an example. A folder holds `rounds.json` with what is finished, a [ticket](ticket_file) for each round, the
/// [model](model_file) of the last round, and the weights to rewind to. Each file is written under a temporary name and renamed, and
/// counts once `rounds.json` lists it. After an interruption the next call goes on from the last training that was finished, with the
/// same bits as without the interruption (if the training of a round always does the same). The weights of the model count only in the
/// first call.
pub struct IterativePruning<'a, M> {
    pruner: &'a Pruner,
    folder: Option<PathBuf>,
    until: usize,
    keep_models: bool,
    inputs: Option<Collect<'a, M>>,
    fresh: Option<Draw<'a, M>>,
    observer: Option<Observer<'a>>,
}

type Failure = Box<dyn Error + Send + Sync>;
type Collect<'a, M> = Box<dyn FnMut(&M, Needs) -> Result<CriterionInputs, Failure> + 'a>;
type Draw<'a, M> = Box<dyn FnMut(usize) -> M + 'a>;
type Observer<'a> = Box<dyn FnMut(&RoundReport) + 'a>;

impl<'a, M: Module> IterativePruning<'a, M> {
    /// Creates rounds by the recipe of `pruner`, which are kept in memory alone.
    #[must_use]
    pub fn new(pruner: &'a Pruner) -> Self {
        let (folder, inputs, fresh, observer) = (None, None, None, None);
        Self { pruner, folder, until: usize::MAX, keep_models: false, inputs, fresh, observer }
    }

    /// Keeps everything in a folder, which is created if needed, and goes on from the rounds that it holds.
    #[must_use]
    pub fn with_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Stops after this round. A later call with the same folder goes on.
    #[must_use]
    pub fn with_last_round(mut self, round: usize) -> Self {
        self.until = round;
        self
    }

    /// Keeps the trained model of every round in the folder, instead of the last one alone.
    #[must_use]
    pub fn with_models(mut self) -> Self {
        self.keep_models = true;
        self
    }

    /// Sets a closure that collects the inputs of the criterion before each pruning.
    ///
    /// A criterion that looks at more than the weights needs it. Updates of growing need gradients of pruned weights too
    /// ([`CriterionInputs::with_dense_gradients`]).
    #[must_use]
    pub fn with_inputs<E: Into<Failure>>(
        mut self,
        mut collect: impl FnMut(&M, Needs) -> Result<CriterionInputs, E> + 'a,
    ) -> Self {
        self.inputs = Some(Box::new(move |model, needs| collect(model, needs).map_err(Into::into)));
        self
    }

    /// Sets a closure that builds a model with new weights for each round, as `initialization = "reinitialize"` needs.
    ///
    /// It gets the number of the round, and builds the model like the first one, with another seed.
    #[must_use]
    pub fn with_fresh(mut self, draw: impl FnMut(usize) -> M + 'a) -> Self {
        self.fresh = Some(Box::new(draw));
        self
    }

    /// Calls `observer` after each round that this call finishes.
    #[must_use]
    pub fn with_observer(mut self, observer: impl FnMut(&RoundReport) + 'a) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Runs all rounds that are not finished, and leaves the model as the last one trained it, with its masks on.
    ///
    /// `train` gets the masked model of a round and returns it trained. It should start with a new optimizer: after a rewinding the moments
    /// of the old one belong to other weights, and no file holds them. `evaluate` gets a copy of the trained model with its own running
    /// statistics, in the mode of the model, and returns any finite number.
    ///
    /// # Errors
    /// The recipe does not fit the model, the training fails, the evaluation is not finite, a closure panics, or a file is damaged or
    /// belongs to another recipe, model or version. The model is unchanged, and the folder holds every training that was finished.
    pub fn run<E: Into<Failure>>(
        mut self,
        model: &mut M,
        mut train: impl FnMut(M, &mut Round) -> Result<M, E>,
        mut evaluate: impl FnMut(&M) -> f64,
    ) -> Result<History, RoundsError> {
        self.check(model)?;
        let last = self.last();
        let folder = self.folder.take().map(|path| Folder::new(path, model, self.pruner));
        let state = folder.as_ref().map(|folder| folder.read(self.pruner, last)).transpose()?.flatten();
        let mut at = match (&folder, state) {
            (Some(folder), Some(state)) => self.resume(folder, model, state)?,
            (folder, _) => self.start(folder.as_ref(), model)?,
        };
        while at.history.rounds.len() <= last.min(self.until) {
            let number = at.history.rounds.len();
            let trained = match at.trained.take() {
                Some(trained) => trained,
                None => match self.round(&mut at, number, last, folder.as_ref(), &mut train)? {
                    Some(trained) => trained,
                    None => break,
                },
            };
            let copy = apart(&at.model);
            let evaluation = caught(|| evaluate(&copy)).map_err(panicked(number, "the evaluation"))?;
            if !evaluation.is_finite() {
                return Err(RoundsError::NotFinite { round: number, value: evaluation.to_string() });
            }
            let Trained { pruning, seconds } = trained;
            at.history.rounds.push(RoundReport { number, pruning, evaluation, seconds });
            if let Some(folder) = &folder {
                folder.write(&at.history, None)?;
                if let Some(before) = number.checked_sub(1).filter(|_| !self.keep_models) {
                    folder.forget_model(before);
                }
            }
            if let (Some(observer), Some(report)) = (&mut self.observer, at.history.rounds.last()) {
                caught(|| observer(report)).map_err(panicked(number, "the observer"))?;
            }
        }
        *model = at.model;
        Ok(at.history)
    }

    /// The number of the last round.
    fn last(&self) -> usize {
        let recipe = self.pruner.recipe();
        let target = recipe.sparsity().unwrap_or(Sparsity::ZERO);
        let updates = recipe.grow.as_ref().map_or(0, |grow| grow.updates(recipe.schedule.last(target)));
        recipe.schedule.rounds(target).saturating_add(updates)
    }

    /// Checks all that can be wrong before the first training.
    fn check(&self, model: &M) -> Result<(), RoundsError> {
        let recipe = self.pruner.recipe();
        let all = layers(model).map_err(|error| in_round(0)(error.into()))?;
        Selection::new(recipe, &all).map_err(in_round(0))?;
        at_odds(recipe).map_err(in_round(0))?;
        let growing = recipe.grow.as_ref().map(|grow| &grow.criterion);
        let demanding = std::iter::once(&recipe.criterion).chain(growing).find(|c| !c.needs().is_empty());
        if let (Some(criterion), None) = (demanding, &self.inputs) {
            let (criterion, needs) = (criterion.name().to_string(), criterion.needs());
            return Err(in_round(0)(PruneError::MissingInputs { criterion, needs }));
        }
        if recipe.initialization == Initialization::Reinitialize && self.fresh.is_none() {
            return Err(RoundsError::NoFreshWeights);
        }
        Ok(())
    }

    fn start(&self, folder: Option<&Folder>, model: &M) -> Result<At<M>, RoundsError> {
        let recipe = self.pruner.recipe();
        // With running statistics of its own, which a plain clone shares.
        let mut model = apart(model);
        let mut session = self.pruner.start(&mut model).map_err(in_round(0))?;
        let history = History { recipe: recipe.to_value(), rounds: Vec::new() };
        if let Some(folder) = folder {
            folder.create()?;
            if let Initialization::Rewind { .. } = recipe.initialization {
                session = session.with_snapshot_file(folder.rewind_file()).map_err(in_round(0))?;
            }
            save(&model, ticket_file(&folder.path, 0))?;
            folder.write(&history, None)?;
        }
        Ok(At { model, session, history, trained: None })
    }

    fn resume(&self, folder: &Folder, model: &M, state: State) -> Result<At<M>, RoundsError> {
        let recipe = self.pruner.recipe();
        let State { history, trained, .. } = state;
        let number = history.rounds.len();
        let trained = trained.filter(|_| number <= self.until);
        // The last round whose training is done.
        let done = if trained.is_some() { Some(number) } else { number.checked_sub(1) };
        let file = done.map_or_else(|| ticket_file(&folder.path, 0), |round| model_file(&folder.path, round));
        let mut model = apart(model);
        load(&file)?.into_model(&mut model)?.sealed(&file)?;
        let mut session = Session::on(self.pruner, &model).map_err(in_round(number))?;
        for _ in 0..done.unwrap_or(0) {
            session.skip();
        }
        if let Initialization::Rewind { step } = recipe.initialization {
            session.rewind_from(folder.rewind_file(), step == 0 || done.is_some());
        }
        Ok(At { model, session, history, trained })
    }

    /// Prunes and trains; `None` if the schedule has no further pruning.
    fn round<E: Into<Failure>>(
        &mut self,
        at: &mut At<M>,
        number: usize,
        last: usize,
        folder: Option<&Folder>,
        train: &mut impl FnMut(M, &mut Round) -> Result<M, E>,
    ) -> Result<Option<Trained>, RoundsError> {
        let initialization = self.pruner.recipe().initialization;
        let mut round =
            Round { number, rounds: last, report: Report::default(), rewound_to: None, wanted: None, snapshot: None };
        if number == 0 {
            round.report = self.pruner.report(&at.model).map_err(in_round(0))?;
            round.wanted = match (initialization, at.session.has_snapshot()) {
                (Initialization::Rewind { step }, false) => Some((step, at.session.clone())),
                _ => None,
            };
        } else {
            let Some(report) = self.prune(at, number)? else { return Ok(None) };
            round.rewound_to = if report.grown.is_none() { rewound_to(initialization) } else { None };
            round.report = report;
            if let Some(folder) = folder {
                save(&at.model, ticket_file(&folder.path, number))?;
            }
        }
        let start = Instant::now();
        let trained = caught(|| train(at.model.clone(), &mut round)).map_err(panicked(number, "the training"))?;
        at.model = trained.map_err(|error| RoundsError::Train { round: number, source: error.into() })?;
        let seconds = start.elapsed().as_secs_f64();
        at.session.check(&at.model).map_err(in_round(number))?;
        if let Some((step, _)) = round.wanted {
            let snapshot = round.snapshot.take().ok_or(RoundsError::NotReached { step })?.map_err(in_round(0))?;
            at.session.keep(snapshot).map_err(in_round(0))?;
        }
        let trained = Trained { pruning: round.report, seconds };
        if let Some(folder) = folder {
            save(&at.model, model_file(&folder.path, number))?;
            folder.write(&at.history, Some(&trained))?;
        }
        Ok(Some(trained))
    }

    fn prune(&mut self, at: &mut At<M>, number: usize) -> Result<Option<Report>, RoundsError> {
        if !at.session.forward() {
            return Ok(None);
        }
        if self.pruner.recipe().initialization == Initialization::Reinitialize
            && let (Some(draw), Some(_)) = (&mut self.fresh, at.session.due())
        {
            at.session.start_from(&caught(|| draw(number)).map_err(panicked(number, "the fresh weights"))?);
        }
        let inputs = match (at.session.needs(), &mut self.inputs) {
            (needs, Some(collect)) if !needs.is_empty() => {
                let collected = caught(|| collect(&at.model, needs)).map_err(panicked(number, "the inputs"))?;
                collected.map_err(|source| RoundsError::Inputs { round: number, source })?
            }
            _ => CriterionInputs::new(),
        };
        at.session.step(&mut at.model, &inputs).map_err(in_round(number))
    }
}

impl<M> fmt::Debug for IterativePruning<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut iterate = f.debug_struct("IterativePruning");
        iterate.field("pruner", self.pruner).field("folder", &self.folder).field("until", &self.until);
        iterate.field("keep_models", &self.keep_models).finish_non_exhaustive()
    }
}

/// How far the rounds are.
struct At<M> {
    model: M,
    session: Session,
    history: History,
    /// A training that is done and not evaluated.
    trained: Option<Trained>,
}

fn panicked(round: usize, closure: &'static str) -> impl Fn(String) -> RoundsError {
    move |message| RoundsError::Panicked { round, closure, message }
}

fn in_round(round: usize) -> impl Fn(PruneError) -> RoundsError {
    move |source| RoundsError::Prune { round, source }
}
