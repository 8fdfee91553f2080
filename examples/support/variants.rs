//! Ways of pruning a transformer, as recipes: what the examples compare.

/// A way of pruning.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Its name on the command line and in rows.
    pub name: &'static str,
    /// What is removed.
    pub what: What,
    recipe: &'static str,
}

/// What a variant removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Masks on the weights of the blocks.
    Weights,
    /// The same, by a pattern that gives the sparsity itself.
    Pattern,
    /// Units of the feed-forward layers, removed.
    Units,
    /// Attention heads, removed.
    Heads,
}

impl What {
    /// The part of the recipe that says what is pruned.
    const fn target(self) -> &'static str {
        match self {
            Self::Weights => "target = { include = [\"encoder\"] }",
            Self::Pattern => "granularity = \"2:4\"\ntarget = { include = [\"encoder\"] }",
            Self::Units => "granularity = \"channel\"\ntarget = { include = [\"encoder.*.linear_inner\"] }",
            Self::Heads => "granularity = \"head\"\ntarget = { include = [\"encoder.*.mha\"] }",
        }
    }

    /// The sparsities of the table.
    #[must_use]
    pub const fn sparsities(self) -> &'static [f64] {
        match self {
            Self::Weights => &[0.3, 0.5, 0.6, 0.7, 0.8, 0.9],
            Self::Pattern => &[0.5],
            Self::Units | Self::Heads => &[0.25, 0.5],
        }
    }
}

/// What recipes have besides their way and sparsity.
#[derive(Clone, Copy, Debug, PartialEq, clap::Args)]
pub struct Settings {
    /// Of all that is random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Of the reconstructions: what they add to the diagonal of a Gram matrix, as a fraction of its mean.
    #[arg(long, default_value_t = 0.1)]
    pub damp: f64,
    /// Reconstruct layer after layer, each on what the pruned layers before it put out.
    #[arg(long)]
    pub sequential: bool,
}

impl Variant {
    /// The recipe for a transformer whose blocks are `encoder.layers.0` and so on.
    #[must_use]
    pub fn recipe(&self, sparsity: f64, blocks: usize, settings: Settings) -> String {
        let blocks: Vec<_> = (0..blocks).map(|i| format!("encoder.layers.{i}")).collect();
        let recipe = self
            .recipe
            .replace("SEED", &settings.seed.to_string())
            .replace("DAMP", &settings.damp.to_string())
            .replace("BLOCKS", &format!("{blocks:?}"));
        let amount = if self.what == What::Pattern { String::new() } else { format!("sparsity = {sparsity}\n") };
        let structural = matches!(self.what, What::Units | What::Heads);
        let order = if settings.sequential && recipe.contains("reconstruct") && !structural {
            "sequential = true\n"
        } else {
            ""
        };
        format!("{recipe}\n{amount}{order}{}", self.what.target())
    }
}

/// A variant by its recipe without sparsity and targets. `BLOCKS`, `SEED` and `DAMP` stand for the patterns of the
/// blocks and for the settings.
const fn variant(name: &'static str, what: What, recipe: &'static str) -> Variant {
    Variant { name, what, recipe }
}

/// All of them, in the order of the table.
pub const VARIANTS: [Variant; 20] = [
    variant("magnitude_layer", What::Weights, "criterion = \"magnitude\""),
    variant("magnitude_global", What::Weights, "criterion = \"magnitude\"\nallocator = \"global\""),
    variant("random_layer", What::Weights, "criterion = { name = \"random\", seed = SEED }"),
    variant("wanda_row", What::Weights, "criterion = \"wanda\"\ncompare = \"row\""),
    variant("wanda_layer", What::Weights, "criterion = \"wanda\""),
    variant("ria", What::Weights, "criterion = \"ria\""),
    variant(
        "owl",
        What::Weights,
        "criterion = \"wanda\"\ncompare = \"row\"\nallocator = { name = \"owl\", by = BLOCKS }",
    ),
    variant("sparsegpt", What::Weights, "criterion = \"wanda\"\nreconstruct = { name = \"sparsegpt\", damp = DAMP }"),
    variant(
        "wanda_obs",
        What::Weights,
        "criterion = \"wanda\"\ncompare = \"row\"\nreconstruct = { name = \"obs\", damp = DAMP }",
    ),
    variant(
        "wanda_exact",
        What::Weights,
        "criterion = \"wanda\"\ncompare = \"row\"\nreconstruct = { name = \"least_squares\", damp = DAMP }",
    ),
    variant("magnitude_obs", What::Weights, "criterion = \"magnitude\"\nreconstruct = { name = \"obs\", damp = DAMP }"),
    variant("magnitude_2_4", What::Pattern, "criterion = \"magnitude\""),
    variant("wanda_2_4", What::Pattern, "criterion = \"wanda\""),
    variant(
        "sparsegpt_2_4",
        What::Pattern,
        "criterion = \"wanda\"\nreconstruct = { name = \"sparsegpt\", damp = DAMP }",
    ),
    variant("ffn_magnitude", What::Units, "criterion = \"magnitude\""),
    variant("ffn_activation", What::Units, "criterion = \"activation\""),
    variant(
        "ffn_reconstructed",
        What::Units,
        "criterion = \"activation\"\nreconstruct = { name = \"least_squares\", damp = DAMP }",
    ),
    variant("heads_magnitude", What::Heads, "criterion = \"magnitude\""),
    variant("heads_activation", What::Heads, "criterion = \"activation\""),
    variant(
        "heads_reconstructed",
        What::Heads,
        "criterion = \"activation\"\nreconstruct = { name = \"least_squares\", damp = DAMP }",
    ),
];
