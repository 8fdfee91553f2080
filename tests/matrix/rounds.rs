use crate::pruner;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::Device;
use burn::tensor::{Tensor, TensorData};
use pruning_burn::mask::masks;
use pruning_burn::rounds::{IterativePruning, Round, redraw_masks, reinitialize, ticket_file};
use pruning_burn::store::load;
use pruning_tests::models::{Cnn, numbers};
use pruning_tests::values::{base, same_bits};

const RECIPE: &str = "sparsity = 0.7\ncriterion = \"magnitude\"\nallocator = \"global\"\n\
     initialization = { rewind = { step = 1 } }\nschedule = { kind = \"iterative\", begin = 3, every = 3, rounds = 2 }";

fn images(device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(numbers(2 * 3 * 8 * 8, 5), [2, 3, 8, 8]), device)
}

/// Convolutions and running statistics, which a file must bring back too.
fn train(mut model: Cnn, round: &mut Round, device: &Device) -> Cnn {
    let mut optimizer = AdamConfig::new().init();
    for step in round.rewound_to().unwrap_or(0)..3 {
        round.reached(step, &model);
        let loss = model.forward(images(device)).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.01, model, gradients);
    }
    model
}

fn evaluate(model: &Cnn, device: &Device) -> f64 {
    f64::from(model.forward(images(device)).square().mean().into_scalar::<f32>())
}

/// Of what a training is given, not of what it makes: a device may tune its kernels while it runs, and sum in another order.
pub(crate) fn rounds_go_on_from_a_folder_bit_for_bit(device: &Device) {
    let device = device.clone().autodiff();
    let pruner = pruner(RECIPE);
    let evaluate = |model: &Cnn| evaluate(model, &device);
    for cut in 0..=2 {
        let folder = tempfile::tempdir().unwrap();
        let mut given = Vec::new();
        for (fails, seed) in [(true, 1), (false, 9)] {
            let watched = |model: Cnn, round: &mut Round| -> Result<Cnn, &'static str> {
                if round.number() == cut {
                    given.push((masks(&model), base(&model.valid())));
                    if fails {
                        return Err("cut");
                    }
                }
                Ok(train(model, round, &device))
            };
            let rounds = IterativePruning::new(&pruner).with_folder(folder.path());
            let result = rounds.run(&mut Cnn::new(&device, seed), watched, evaluate);
            assert!(if fails { result.is_err() } else { result.is_ok_and(|history| history.rounds.len() == 3) });
        }
        let [(first, weights), (again, same)] = &given[..] else { panic!("{} trainings of round {cut}", given.len()) };
        assert_eq!(first, again, "round {cut}");
        assert!(same_bits(weights, same), "round {cut}");
    }
}

pub(crate) fn controls_of_a_ticket_stay_on_their_device(device: &Device) {
    let device = device.clone().autodiff();
    let (pruner, folder) = (pruner(RECIPE), tempfile::tempdir().unwrap());
    let mut model = Cnn::new(&device, 1);
    let train = |model: Cnn, round: &mut Round| -> Result<Cnn, &'static str> { Ok(train(model, round, &device)) };
    let evaluate = |model: &Cnn| evaluate(model, &device);
    IterativePruning::new(&pruner).with_folder(folder.path()).run(&mut model, train, evaluate).unwrap();
    let mut ticket = Cnn::new(&device, 2);
    load(ticket_file(folder.path(), 2)).and_then(|file| file.into_model(&mut ticket)).unwrap();
    let (found, start) = (masks(&ticket), base(&ticket));
    let (mut random, mut redrawn) = (ticket.clone(), ticket);
    redraw_masks(&mut random, 5).unwrap();
    let fresh = Cnn::new(&device, 3);
    reinitialize(&mut redrawn, &fresh).unwrap();
    for ((path, a), (_, b)) in masks(&random).iter().zip(found.iter()) {
        assert_eq!(a.kept(), b.kept(), "{path}");
    }
    assert_ne!(masks(&random), found);
    assert_eq!(masks(&redrawn), found);
    assert!(same_bits(&base(&random), &start) && same_bits(&base(&redrawn), &base(&fresh)));
    for control in [random, redrawn] {
        assert_eq!(control.devices(), vec![device.clone()]);
        assert!(evaluate(&control).is_finite());
    }
}
