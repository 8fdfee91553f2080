//! How many allocators a program finds, by linking alone and by calling `register`.

use pruning_allocation as _;
use pruning_core::budget::Allocator;
use pruning_core::plugin::Plugins;

fn count(plugins: &Plugins) -> u32 {
    u32::try_from(plugins.of_kind::<dyn Allocator>().count()).unwrap_or(u32::MAX)
}

/// By linking alone.
#[unsafe(no_mangle)]
pub extern "C" fn allocators_linked() -> u32 {
    count(&Plugins::linked())
}

/// By explicit registration, without globals.
#[unsafe(no_mangle)]
pub extern "C" fn allocators_registered() -> u32 {
    let mut plugins = Plugins::empty();
    pruning_allocation::register(&mut plugins);
    count(&plugins)
}
