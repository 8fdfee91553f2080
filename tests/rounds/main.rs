//! Rounds of training and pruning: that they go on from wherever they were cut, and what they refuse.

mod bad_input;

use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use pruning_burn::Pruner;
use pruning_burn::mask::{attach, masks, undo};
use pruning_burn::rounds::{
    History, IterativePruning, Round, RoundsError, model_file, redraw_masks, reinitialize, ticket_file,
};
use pruning_burn::score::CriterionInputs;
use pruning_burn::store::load;
use pruning_tests::models::Mlp;
use pruning_tests::values::{base, same_bits};
use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LOTTERY: &str = "criterion = \"magnitude\"\ninitialization = \"rewind\"\n\
     schedule = { kind = \"iterative\", rounds = 3, fraction = 0.4 }\n\
     [[override]]\ntarget = \"fc2\"\nsparsity = 0.488";
const LATE: &str = "sparsity = 0.8\ncriterion = \"magnitude\"\nallocator = \"global\"\ninitialization = { rewind = { step = 2 } }\n\
     schedule = { kind = \"iterative\", begin = 6, every = 4, rounds = 2 }";
const RECIPES: [&str; 6] = [
    LOTTERY,
    LATE,
    "sparsity = 0.8\ncriterion = \"magnitude\"\n\
     schedule = { kind = \"gradual\", begin = 2, end = 9, every = 3, curve = \"linear\" }",
    "sparsity = 0.7\ncriterion = \"magnitude\"\ninitialization = \"reinitialize\"\n\
     schedule = { kind = \"iterative\", rounds = 2 }",
    "sparsity = 0.8\ncriterion = \"magnitude\"\nallocator = \"erk\"\n\
     grow = { criterion = \"gradient\", every = 5, end = 12 }",
    "sparsity = 0.6\ncriterion = \"taylor\"\ninitialization = { rewind_rate = { step = 3 } }\n\
     schedule = { kind = \"one_shot\", at = 4 }",
];

fn device() -> Device {
    Device::flex().autodiff()
}

fn pruner(recipe: &str) -> Pruner {
    Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap_or_else(|error| panic!("{error}\n{recipe}"))
}

fn loss(model: &Mlp, x: &Tensor<2>) -> Tensor<1> {
    (model.forward(x.clone()) - 1.0).square().mean()
}

/// A few steps with a rate that falls, on other examples in each round; `reached` sees the model before each.
fn steps(mut model: Mlp, number: usize, from: usize, mut reached: impl FnMut(usize, &Mlp)) -> Mlp {
    let mut optimizer = AdamConfig::new().init();
    let x = Mlp::input(6, &device()) + 0.1 * number as f64;
    for step in from..5 {
        reached(step, &model);
        let gradients = GradientsParams::from_grads(loss(&model, &x).backward(), &model);
        model = optimizer.step(0.05 / (1 + step) as f64, model, gradients);
    }
    model
}

fn train(model: Mlp, round: &mut Round) -> Result<Mlp, &'static str> {
    let (number, from) = (round.number(), round.rewound_to().unwrap_or(0));
    Ok(steps(model, number, from, |step, model| round.reached(step, model)))
}

fn evaluate(model: &Mlp) -> f64 {
    loss(model, &Mlp::input(8, &device())).into_scalar::<f64>()
}

fn iterate(pruner: &Pruner) -> IterativePruning<'_, Mlp> {
    let x = Mlp::input(4, &device());
    IterativePruning::new(pruner).with_fresh(|round| Mlp::new(&device(), 100 + round as u64)).with_inputs(
        move |model, needs| CriterionInputs::new().with_dense_gradients(model, needs, std::slice::from_ref(&x), loss),
    )
}

/// All rounds at once, in memory.
fn whole(recipe: &str) -> (Mlp, History) {
    let mut model = Mlp::new(&device(), 1);
    let history = iterate(&pruner(recipe)).run(&mut model, train, evaluate).unwrap();
    (model, history)
}

fn same(a: &(Mlp, History), b: &(Mlp, History), what: &str) {
    assert_eq!(masks(&a.0), masks(&b.0), "{what}");
    assert!(same_bits(&base(&a.0), &base(&b.0)), "{what}");
    assert_eq!(a.1.rounds.len(), b.1.rounds.len(), "{what}");
    for (a, b) in a.1.rounds.iter().zip(&b.1.rounds) {
        assert_eq!((a.number, a.pruning.kept()), (b.number, b.pruning.kept()), "{what}");
        assert_eq!(a.evaluation.to_bits(), b.evaluation.to_bits(), "{what}: {a:?}, {b:?}");
    }
}

#[test]
fn rounds_are_what_a_loop_of_ones_own_does() {
    let (model, history) = whole(LOTTERY);
    let mut own = Mlp::new(&device(), 1);
    let start = base(&own);
    let pruner = pruner(LOTTERY);
    let mut session = pruner.start(&mut own).unwrap();
    let mut kept = vec![320];
    let once = |model: Mlp, number: usize| steps(model, number, 0, |_, _| {});
    own = once(own, 0);
    for number in 1..=3 {
        kept.push(session.step(&mut own, None).unwrap().unwrap().kept());
        own = once(own, number);
    }
    assert_eq!(masks(&model), masks(&own));
    assert!(same_bits(&base(&model), &base(&own)));
    assert_eq!(history.rounds.iter().map(|r| r.pruning.kept()).collect::<Vec<_>>(), kept);
    assert_eq!(history.rounds[3].evaluation, evaluate(&own));
    assert_eq!(history.rounds[3].pruning.round, Some((3, 3)));

    // The same in a folder, with its tickets.
    let folder = tempfile::tempdir().unwrap();
    let mut again = Mlp::new(&device(), 1);
    let found = iterate(&pruner).with_folder(folder.path()).with_models().run(&mut again, train, evaluate).unwrap();
    same(&(again, found), &(own, history.clone()), "in a folder");
    let mut before = None;
    for (number, &left) in kept.iter().enumerate() {
        let mut ticket = Mlp::new(&device(), 50);
        load(ticket_file(folder.path(), number)).and_then(|file| file.into_model(&mut ticket)).unwrap();
        let found = masks(&ticket);
        assert_eq!(found.iter().map(|(_, mask)| mask.kept()).sum::<usize>(), left);
        let trained = once(ticket.clone(), number);
        let mut kept_model = Mlp::new(&device(), 51);
        load(model_file(folder.path(), number)).and_then(|file| file.into_model(&mut kept_model)).unwrap();
        assert!(same_bits(&base(&trained), &base(&kept_model)), "a ticket is what its round trained");
        undo(&mut ticket).unwrap();
        assert!(same_bits(&base(&ticket), &start), "under its masks are the first weights, all of them");
        if let Some(before) = before.replace(found.clone()) {
            let nested = |(path, mask): (&str, &pruning_burn::mask::Mask)| {
                mask.bits().iter_ones().all(|i| before.get(path).unwrap().bits().get(i))
            };
            assert!(found.iter().all(nested), "what is pruned stays pruned");
        }
    }
    let table = history.to_string();
    assert!(table.contains("compression") && table.lines().count() >= 6, "{table}");
}

#[test]
fn rounds_go_on_from_wherever_they_were_cut() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Cut {
        BeforeTraining,
        AfterTraining,
        Evaluation,
        Until,
    }
    for recipe in RECIPES {
        let expected = whole(recipe);
        let last = expected.1.rounds.len() - 1;
        assert!(last >= 1);
        for round in 0..=last {
            for cut in [Cut::BeforeTraining, Cut::AfterTraining, Cut::Evaluation, Cut::Until] {
                let what = format!("{cut:?} of round {round}\n{recipe}");
                let folder = tempfile::tempdir().unwrap();
                let pruner = pruner(recipe);
                let mut model = Mlp::new(&device(), 1);
                let before = base(&model);
                let first = iterate(&pruner).with_folder(folder.path());
                let first = if cut == Cut::Until { first.with_last_round(round) } else { first };
                let mut evaluations = 0..;
                let result = first.run(
                    &mut model,
                    |model, at| match cut {
                        Cut::BeforeTraining if at.number() == round => Err("cut"),
                        Cut::AfterTraining if at.number() == round => train(model, at).and(Err("cut")),
                        _ => train(model, at),
                    },
                    |model| match (cut, evaluations.next()) {
                        (Cut::Evaluation, Some(number)) if number == round => f64::NAN,
                        _ => evaluate(model),
                    },
                );
                match cut {
                    Cut::Until => assert_eq!(result.unwrap().rounds.len(), round + 1, "{what}"),
                    _ => {
                        let error = result.unwrap_err();
                        let expected = match &error {
                            RoundsError::Train { source, .. } => source.to_string() == "cut",
                            RoundsError::NotFinite { value, .. } => cut == Cut::Evaluation && value == "NaN",
                            _ => false,
                        };
                        assert!(expected, "{what}: {error}");
                        assert!(same_bits(&base(&model), &before) && masks(&model).is_empty(), "{what}");
                    }
                }
                // Another process would build it anew, with other weights.
                let mut model = Mlp::new(&device(), 99);
                let finished = History::read(folder.path()).unwrap().rounds.len();
                let (trainings, seen) = (Cell::new(0), Cell::new(0));
                let again = iterate(&pruner)
                    .with_folder(folder.path())
                    .with_observer(|_| seen.set(seen.get() + 1))
                    .run(
                        &mut model,
                        |model, at| {
                            trainings.set(trainings.get() + 1);
                            train(model, at)
                        },
                        evaluate,
                    )
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(seen.get(), last + 1 - finished, "{what}");
                let evaluated_only = usize::from(cut == Cut::Evaluation);
                assert_eq!(trainings.get(), last + 1 - finished - evaluated_only, "nothing is trained twice: {what}");
                same(&(model, again), &expected, &what);
            }
        }
    }
}

#[test]
fn finished_rounds_are_read_and_nothing_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let (pruner, mut model) = (pruner(LATE), Mlp::new(&device(), 1));
    let history = iterate(&pruner).with_folder(folder.path()).run(&mut model, train, evaluate).unwrap();
    let never = |_: Mlp, _: &mut Round| -> Result<Mlp, &'static str> { Err("trains again") };
    // On a new model, and on one that has the masks already.
    for mut again in [Mlp::new(&device(), 7), model.clone()] {
        let found = iterate(&pruner).with_folder(folder.path()).run(&mut again, never, |_| f64::NAN).unwrap();
        same(&(again, found), &(model.clone(), history.clone()), "again");
    }
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected = ["rewind.bpk", "rounds.json", "ticket-00.bpk", "ticket-01.bpk", "ticket-02.bpk", "trained-02.bpk"];
    assert_eq!(names, expected, "of models, only the last one stays");
}

#[test]
fn a_late_rewinding_goes_back_to_the_step_and_its_rate() {
    let folder = tempfile::tempdir().unwrap();
    let (pruner, mut model) = (pruner(LATE), Mlp::new(&device(), 1));
    let (mut at_two, mut starts) = (None, Vec::new());
    let watched = |model: Mlp, round: &mut Round| -> Result<Mlp, &'static str> {
        let (number, to) = (round.number(), round.rewound_to());
        starts.push((number, round.last(), to, round.report().kept()));
        Ok(steps(model, number, to.unwrap_or(0), |step, model| {
            round.reached(step, model);
            if (number, step) == (0, 2) {
                at_two = Some(base(model));
            }
        }))
    };
    iterate(&pruner).with_folder(folder.path()).run(&mut model, watched, evaluate).unwrap();
    // Of 320, density 0.2^(1/2), then 0.2.
    assert_eq!(starts, [(0, 2, None, 320), (1, 2, Some(2), 143), (2, 2, Some(2), 64)]);
    for number in [1, 2] {
        let mut ticket = Mlp::new(&device(), 9);
        load(ticket_file(folder.path(), number)).and_then(|file| file.into_model(&mut ticket)).unwrap();
        undo(&mut ticket).unwrap();
        assert!(same_bits(&base(&ticket), at_two.as_ref().unwrap()), "round {number}");
    }
}

#[test]
fn controls_keep_the_density_of_each_layer() {
    let folder = tempfile::tempdir().unwrap();
    let (pruner, mut model) = (pruner(LOTTERY), Mlp::new(&device(), 1));
    iterate(&pruner).with_folder(folder.path()).run(&mut model, train, evaluate).unwrap();
    let mut ticket = Mlp::new(&device(), 9);
    load(ticket_file(folder.path(), 2)).and_then(|file| file.into_model(&mut ticket)).unwrap();
    let (found, start) = (masks(&ticket), base(&ticket));

    let mut random = ticket.clone();
    let report = redraw_masks(&mut random, 3).unwrap();
    assert_eq!(report.kept(), found.iter().map(|(_, mask)| mask.kept()).sum::<usize>());
    let drawn = masks(&random);
    assert!(drawn.iter().zip(found.iter()).all(|((p, a), (q, b))| p == q && a.kept() == b.kept() && a != b));
    assert!(same_bits(&base(&random), &start));

    let (mut redrawn, fresh) = (ticket.clone(), Mlp::new(&device(), 4));
    reinitialize(&mut redrawn, &fresh).unwrap();
    assert_eq!(masks(&redrawn), found);
    assert!(same_bits(&base(&redrawn), &base(&fresh)) && masks(&fresh).is_empty());
    // As by hand.
    let mut own = fresh.clone();
    attach(&mut own, &found).unwrap();
    let both = |model: Mlp| {
        let gradients = GradientsParams::from_grads(loss(&model, &Mlp::input(6, &device())).backward(), &model);
        AdamConfig::new().init().step(0.05, model, gradients)
    };
    assert!(same_bits(&base(&both(redrawn)), &base(&both(own))));
}

const FOLDER: &str = "PRUNING_TEST_ROUNDS";

/// Not a test by itself: what the killed process runs.
#[test]
fn goes_through_rounds_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let slowly = |model: Mlp, round: &mut Round| {
        std::thread::sleep(Duration::from_millis(60));
        train(model, round)
    };
    iterate(&pruner(LATE)).with_folder(Path::new(&folder)).run(&mut Mlp::new(&device(), 1), slowly, evaluate).unwrap();
}

#[test]
fn a_killed_process_goes_on_with_its_round() {
    let expected = whole(LATE);
    for file in ["ticket-00.bpk", "rounds.json", "trained-00.bpk", "ticket-01.bpk", "trained-01.bpk", "ticket-02.bpk"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "goes_through_rounds_until_it_is_killed"])
            .env(FOLDER, folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while !folder.path().join(file).exists() {
            assert!(child.try_wait().unwrap().is_none(), "the process ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        // SIGKILL: nothing is left to run in it.
        child.kill().unwrap();
        child.wait().unwrap();
        // The seed of the first call, since it may not have come to its first file of rounds.
        let mut model = Mlp::new(&device(), 1);
        let history = iterate(&pruner(LATE)).with_folder(folder.path()).run(&mut model, train, evaluate).unwrap();
        same(&(model, history), &expected, file);
    }
}

#[test]
fn the_next_step_is_the_first_that_is_due() {
    let recipes = [
        "schedule = { kind = \"gradual\", begin = 2, end = 12, every = 4 }",
        "schedule = { kind = \"gradual\", begin = 3, end = 4, every = 9 }\ngrow = { criterion = \"random\", every = 3, end = 15 }",
        "schedule = { kind = \"one_shot\", at = 5 }\ngrow = { criterion = \"random\", every = 2, end = 10 }",
    ];
    for recipe in recipes {
        let pruner = pruner(&format!("sparsity = 0.8\ncriterion = \"magnitude\"\n{recipe}"));
        let recipe = pruner.recipe();
        let target = recipe.sparsity().unwrap();
        let last = recipe.schedule.last(target);
        for from in 0..30 {
            let due = (from..30).find(|&step| recipe.schedule.due(step, target).is_some());
            assert_eq!(recipe.schedule.next(from, target), due, "{recipe:?} from {from}");
            if let Some(grow) = &recipe.grow {
                let due = (from..30).find(|&step| grow.due(step, last).is_some());
                assert_eq!(grow.next(from, last), due, "{recipe:?} from {from}");
            }
        }
    }
}
