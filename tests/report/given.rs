//! What pages are made of: the library's own results on a small network, and text that is hard to show.

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::Device;
use pruning_burn::analyze::sensitivity::{Scan, Sensitivity};
use pruning_burn::mask::finish;
use pruning_burn::pruner::LayerScores;
use pruning_burn::report::Report;
use pruning_burn::rounds::{History, IterativePruning, Round};
use pruning_burn::shrink::{self, ChannelGroups, Difference, Factor, Fields, ShrinkPlan, Shrinker};
use pruning_burn::sparse::{Options, SparseModel, SparseReport};
use pruning_burn::store::{Compact, CompactReport, save};
use pruning_burn::trace::{AxisRules, Costs, Scope, Trace};
use pruning_report::Page;
use pruning_tests::models::Mlp;
use pruning_tests::shrinking::pruner;

/// One of each thing that a page shows.
pub(crate) struct Everything {
    pub(crate) report: Report,
    pub(crate) scores: Vec<LayerScores>,
    pub(crate) plan: ShrinkPlan,
    pub(crate) groups: ChannelGroups,
    pub(crate) costs: [Costs; 2],
    pub(crate) verify: Difference,
    pub(crate) sensitivity: Sensitivity,
    pub(crate) rounds: History,
    pub(crate) compact: CompactReport,
    pub(crate) sparse: SparseReport,
}

impl Everything {
    pub(crate) fn page(&self) -> Page<'_> {
        Page::new("A small network")
            .with_fact("Test error", "1.4 %")
            .with_measure("loss")
            .with_report(&self.report)
            .with_scores(&self.scores)
            .with_plan(&self.plan)
            .with_groups(&self.groups)
            .with_costs(&self.costs[0], &self.costs[1])
            .with_verify(self.verify)
            .with_sensitivity(&self.sensitivity)
            .with_rounds(&self.rounds)
            .with_compact(&self.compact)
            .with_sparse(&self.sparse)
    }

    /// Gives everything that has a name another one.
    pub(crate) fn rename(&mut self, names: &[String]) {
        let mut next = names.iter().cycle().cloned();
        let mut name = || next.next().unwrap();
        self.scores.iter_mut().for_each(|layer| layer.path = name());
        self.sensitivity.layers.iter_mut().for_each(|layer| layer.path = name());
        self.plan.groups.iter_mut().for_each(|group| (group.path, group.axes) = (name(), vec![name(), name()]));
        self.plan.fields.iter_mut().for_each(|field| field.path = name());
        self.compact.tensors.iter_mut().for_each(|tensor| tensor.path = name());
        self.sparse.passes.iter_mut().flat_map(|pass| &mut pass.layers).for_each(|row| row.path = name());
        let rounds = self.rounds.rounds.iter_mut();
        rounds.flat_map(|round| &mut round.pruning.layers).for_each(|layer| layer.path = name());
    }
}

fn forward(model: &Mlp, scope: &mut Scope) {
    let x = scope.input(&Mlp::input(4, &Device::flex()));
    scope.output(model.forward(x));
}

pub(crate) fn everything() -> Everything {
    let device = Device::flex();
    let model = Mlp::new(&device, 3);
    let loss = |model: &Mlp| (model.forward(Mlp::input(8, &Device::flex())) - 1.0).square().mean();

    let magnitude = pruner("criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = 0.8");
    let scores = magnitude.scores(&model, None).unwrap();
    let mut masked = model.clone();
    let report = magnitude.prune(&mut masked, None).unwrap();
    finish(&mut masked).unwrap();
    let sensitivity = Scan::new(&magnitude).run(&model, |model| loss(model).into_scalar::<f64>()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let compact = save(Compact(&masked), folder.path().join("compact.safetensors")).unwrap();
    let trace = Trace::record(&masked, forward).unwrap();
    let sparse = SparseModel::compile([&trace], &masked, &Options::every_product()).unwrap().report().clone();

    let trace = Trace::record(&model, forward).unwrap();
    let channels = pruner("criterion = \"magnitude\"\ngranularity = \"channel\"\nsparsity = 0.5");
    let plan = Shrinker::new(&channels).plan(&model, &trace, None).unwrap();
    let groups = trace.groups(Factor::Outer, &AxisRules::new()).unwrap();
    let (mut masked, mut smaller) = (model.clone(), model.clone());
    shrink::mask(&plan, &mut masked).unwrap();
    shrink::apply(&plan, &mut smaller, |_: &mut Mlp, _: &mut Fields| {}, forward).unwrap();
    let verify = shrink::verify(&masked, &smaller, forward).unwrap();
    let costs = [trace.costs(), Trace::record(&smaller, forward).unwrap().costs()];

    let lottery = pruner("criterion = \"magnitude\"\nschedule = { kind = \"iterative\", rounds = 4, fraction = 0.4 }");
    let train = |mut model: Mlp, _: &mut Round| -> Result<Mlp, &'static str> {
        let mut optimizer = AdamConfig::new().init();
        let x = Mlp::input(8, &Device::flex().autodiff());
        for _ in 0..3 {
            let loss = (model.forward(x.clone()) - 1.0).square().mean();
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(0.05, model, gradients);
        }
        Ok(model)
    };
    let mut trained = Mlp::new(&device.autodiff(), 3);
    let evaluate = |model: &Mlp| loss(&model.valid()).into_scalar::<f64>();
    let rounds = IterativePruning::new(&lottery).run(&mut trained, train, evaluate).unwrap();
    Everything { report, scores, plan, groups, costs, verify, sensitivity, rounds, compact, sparse }
}

/// Names that end attributes, tags, scripts and comments, or that do not fit.
pub(crate) fn hostile() -> Vec<String> {
    let names = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=\"alert(1)\">",
        "'><b>bold</b>",
        "</style></svg></script><b>",
        "--><!-- ]]> &lt; &amp; {{ 7 * 7 }} {% raw %}",
        "",
        "\u{202e}right to left\u{0}\n\t\u{7f}",
        "a b=c d",
    ];
    names.into_iter().map(String::from).chain(["w".repeat(100_000), "\u{1f600}".repeat(5_000)]).collect()
}
