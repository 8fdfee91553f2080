//! Every plugin that is linked: kind, name, summary, references. `--json` prints a JSON line for each.

use clap::Parser;

/// Lists the plugins that recipes can name.
#[derive(Debug, Parser)]
struct Options {
    /// Print JSON lines and nothing else.
    #[arg(long)]
    json: bool,
}

fn main() {
    let options = Options::parse();
    let plugins = pruning_plugins::all();
    for plugin in plugins.iter() {
        if options.json {
            println!(
                "{}",
                serde_json::json!({ "kind": plugin.kind(), "name": plugin.name(), "summary": plugin.summary(),
                    "references": plugin.references(), "origin": plugin.origin() })
            );
        } else {
            println!("{:10} {:12} {}", plugin.kind(), plugin.name(), plugin.summary());
            plugin.references().iter().for_each(|reference| println!("{:23} {reference}", ""));
        }
    }
}
