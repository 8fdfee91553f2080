use crate::budget::Sparsity;
use crate::plugin::registry::*;
use crate::schedule::Curve;
use serde::{Deserialize, Serialize};
use serde_json::json;

macro_rules! curve {
    ($module:ident, $name:literal) => {
        mod $module {
            use super::*;

            #[derive(Debug, Default, Serialize, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub(super) struct Line {
                pub(super) bend: f64,
            }

            impl Plugin for Line {
                const NAME: &'static str = $name;
                const SUMMARY: &'static str = "A line.";

                fn validate(&self) -> Result<(), String> {
                    if self.bend < 9.0 { Ok(()) } else { Err(format!("bend {} must be below 9", self.bend)) }
                }
            }

            impl Curve for Line {
                fn sparsity(&self, initial: Sparsity, target: Sparsity, progress: f64) -> f64 {
                    initial.value() + self.bend + progress * (target.value() - initial.value())
                }
            }

            crate::register_curve!(Line);
        }
    };
}

curve!(here, "test.line");
curve!(there, "test.line");
curve!(alone, "test.alone");

// Inventory's submissions of `register_curve!` name the crate by `$crate`, so these are linked here as anywhere.
#[test]
fn linked_plugins_are_found_and_a_name_claimed_twice_names_both_origins() {
    let plugins = Plugins::linked();
    assert!(plugins.build::<dyn Curve>("test.alone", Value::Null).is_ok());
    let error = plugins.build::<dyn Curve>("test.line", Value::Null).unwrap_err();
    let RegistryError::Conflict { first, second, .. } = &error else { panic!("{error}") };
    assert_eq!((first.package, second.package), ("pruning-core", "pruning-core"));
    assert_eq!(error.to_string().matches("registry/tests.rs").count(), 2);
    assert!(plugins.check().unwrap_err().contains(&error));
}

#[test]
fn the_same_type_twice_is_harmless() {
    let plugins = Plugins::empty().with::<alone::Line>().with::<alone::Line>();
    assert_eq!(plugins.check(), Ok(()));
    assert_eq!(plugins.of_kind::<dyn Curve>().count(), 1);
}

#[test]
fn an_unknown_name_lists_what_there_is_and_suggests_the_nearest() {
    let plugins = Plugins::empty().with::<alone::Line>();
    let error = plugins.build::<dyn Curve>("test.alnoe", Value::Null).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown curve \"test.alnoe\", did you mean \"test.alone\"?; there are: test.alone. \
         A plugin of another crate must be linked: call its `register`"
    );
    let far = plugins.build::<dyn Curve>("cosine", Value::Null).unwrap_err();
    assert!(matches!(far, RegistryError::Unknown { suggestion: None, .. }));
}

#[test]
fn a_configuration_is_filled_in_and_a_bad_one_names_field_and_value() {
    let plugins = Plugins::empty().with::<alone::Line>();
    let line = plugins.build::<dyn Curve>("test.alone", json!({ "bend": 0.5 })).unwrap();
    assert_eq!(line.config(), &json!({ "bend": 0.5 }));
    assert_eq!(line.sparsity(Sparsity::ZERO, Sparsity::new(0.5).unwrap(), 1.0), 1.0);
    assert_eq!(plugins.build::<dyn Curve>("test.alone", Value::Null).unwrap().config(), &json!({ "bend": 0.0 }));
    for (config, part) in
        [(json!({ "bnd": 1 }), "unknown field `bnd`"), (json!({ "bend": 10 }), "bend 10 must be below 9")]
    {
        let error = plugins.build::<dyn Curve>("test.alone", config).unwrap_err().to_string();
        assert!(error.contains("curve \"test.alone\"") && error.contains(part), "{error}");
    }
}

#[test]
fn a_field_called_name_is_refused_before_it_takes_the_place_of_the_plugins_name() {
    macro_rules! named {
        ($type:ident, $name:literal, { $($field:tt)* }) => {
            #[derive(Debug, Default, Serialize, Deserialize)]
            #[serde(default)]
            struct $type { $($field)* }

            impl Plugin for $type {
                const NAME: &'static str = $name;
                const SUMMARY: &'static str = "A line.";
            }

            impl Curve for $type {
                fn sparsity(&self, initial: Sparsity, _: Sparsity, _: f64) -> f64 {
                    initial.value()
                }
            }

            crate::register_curve!($type);
        };
    }
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Inner {
        name: String,
    }
    named!(Plain, "test.named.plain", { name: String });
    named!(Renamed, "test.named.renamed", { #[serde(rename = "name", skip_serializing)] title: String });
    named!(Alias, "test.named.alias", { #[serde(alias = "name")] title: String });
    named!(Flat, "test.named.flat", { #[serde(flatten)] inner: Inner });
    named!(Fine, "test.named.fine", { names: Vec<String>, inner: Inner });
    let plugins = Plugins::empty().with::<Plain>().with::<Renamed>().with::<Alias>().with::<Flat>().with::<Fine>();
    for name in ["plain", "renamed", "alias", "flat"].map(|name| format!("test.named.{name}")) {
        let error = plugins.build::<dyn Curve>(&name, Value::Null).unwrap_err();
        assert!(matches!(error, RegistryError::ReservedField { .. }), "{error}");
        assert!(
            error.to_string().starts_with(&format!("curve {name:?}: its configuration has a field called \"name\""))
        );
    }
    // A flattened struct hides its fields until it is written.
    assert_eq!(plugins.check().unwrap_err().len(), 3);
    let error = plugins.configure::<Flat, dyn Curve>(Flat::default()).unwrap_err();
    assert!(matches!(error, RegistryError::ReservedField { .. }), "{error}");
    let fine = json!({ "name": "test.named.fine", "names": ["a"], "inner": { "name": "b" } });
    assert_eq!(plugins.read::<dyn Curve>(fine.clone()).unwrap().to_value(), fine);
}

#[test]
fn a_name_of_another_kind_says_which() {
    let plugins = Plugins::empty().with::<alone::Line>();
    let error = plugins.build::<dyn crate::budget::Allocator>("test.alone", Value::Null).unwrap_err();
    assert_eq!(
        error.to_string(),
        "allocator \"test.alone\": this is the name of a plugin of the kind curve; there are: none"
    );
}

#[test]
fn errors_show_no_empty_name_and_no_megabytes() {
    let plugins = Plugins::empty().with::<alone::Line>();
    let long = "x".repeat(5_000_000);
    for (name, config) in [
        ("", Value::Null),
        (long.as_str(), Value::Null),
        ("test.alone", json!({ &long: 1 })),
        ("test.alone", json!({ "bend": long })),
    ] {
        let text = plugins.build::<dyn Curve>(name, config).unwrap_err().to_string();
        assert!(text.len() < 5000 && !text.contains("\"\""), "{} bytes", text.len());
    }
    let text = plugins.read::<dyn Curve>(json!([long])).unwrap_err().to_string();
    assert!(text.len() < 5000 && text.starts_with("expected a name or a table with `name`, not [\"xxx"));
}

#[test]
fn a_configuration_that_panics_is_an_error() {
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Nervous {}

    impl Plugin for Nervous {
        const NAME: &'static str = "test.nervous";
        const SUMMARY: &'static str = "A line.";

        fn validate(&self) -> Result<(), String> {
            panic!("nothing is valid")
        }
    }

    impl Curve for Nervous {
        fn sparsity(&self, initial: Sparsity, _: Sparsity, _: f64) -> f64 {
            initial.value()
        }
    }

    crate::register_curve!(Nervous);
    let error = Plugins::empty().with::<Nervous>().build::<dyn Curve>("test.nervous", Value::Null).unwrap_err();
    assert_eq!(error.to_string(), "curve \"test.nervous\": it panicked: nothing is valid");
    assert_eq!(Plugins::empty().configure::<Nervous, dyn Curve>(Nervous {}).unwrap_err(), error);
}

#[test]
fn a_plugin_given_as_a_value_is_checked_as_one_of_a_recipe() {
    let none = Plugins::empty();
    let line = none.configure::<_, dyn Curve>(alone::Line { bend: 0.5 }).unwrap();
    assert_eq!(line.to_value(), json!({ "name": "test.alone", "bend": 0.5 }));
    for (bend, part) in [(10.0, "bend 10 must be below 9"), (f64::NEG_INFINITY, "does not read back")] {
        let error = none.configure::<_, dyn Curve>(alone::Line { bend }).unwrap_err().to_string();
        assert!(error.contains("curve \"test.alone\"") && error.contains(part), "{error}");
    }
    let taken = Plugins::empty().with::<there::Line>();
    let error = taken.configure::<_, dyn Curve>(here::Line { bend: 0.5 }).unwrap_err();
    assert!(matches!(error, RegistryError::Conflict { .. }), "{error}");
    let error = none.configure::<_, dyn crate::budget::Allocator>(alone::Line { bend: 0.5 }).unwrap_err();
    assert!(matches!(error, RegistryError::OtherKind { .. }), "{error}");
}
