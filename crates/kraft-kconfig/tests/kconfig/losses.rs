//! Explanations of lost values.

use kraft_kconfig::DotConfig;
use kraft_kconfig::language::Tree;
use kraft_kconfig::resolve::Mode;

use crate::world::Memory;

const TREE: &str = r#"
mainmenu "Losses"
config NET
	bool "Networking"
config LIBLWIP
	bool "lwIP"
	depends on NET
if LIBLWIP
config LWIP_UDP
	bool "UDP"
	default y
config LWIP_TCP
	bool "TCP"
config LWIP_DHCP
	bool "DHCP"
	depends on LWIP_UDP
endif
config DEBUG
	bool "Debug"
	select LOG
config LOG
	bool "Log"
config HIDDEN
	bool
config USER
	bool "User"
	select HIDDEN
config STACK
	int "Stack"
	range 1 64
	default 4
config BASE
	hex "Base"
	range 0x1000 0x2000
	default 0x1000
choice
	prompt "Level"
	default ONE
config ONE
	bool "One"
config TWO
	bool "Two"
endchoice
config WHERE
	string
	default "$(UK_BASE)"
config QUIET
	bool "Quiet"
	depends on !DEBUG && STACK > 8
config LAST
	tristate "Last"
config STRANGE
	bool "Strange"
	depends on NEVER_DEFINED
config SPEED
	string "Speed"
	depends on TWO
"#;

fn told(asked: &[(&str, &str)], name: &str) -> String {
    let files = Memory::of(TREE).with("$UK_BASE", "/core");
    let tree = Tree::parse("Config.uk", &files).unwrap();
    let config: DotConfig = asked.iter().copied().collect();
    let resolved = tree.resolve_as(&config, Mode::Defconfig);
    let wanted = asked.iter().find(|(asked, _)| *asked == name).unwrap().1;
    resolved
        .explain(name, wanted)
        .map(|loss| loss.to_string())
        .unwrap_or_default()
}

#[test]
fn every_loss_is_explained_with_its_cause() {
    for (asked, name, sentence) in [
        (
            &[
                ("CONFIG_LWIP_DHCP", "y"),
                ("CONFIG_LWIP_UDP", "n"),
                ("CONFIG_LIBLWIP", "y"),
                ("CONFIG_NET", "y"),
            ][..],
            "CONFIG_LWIP_DHCP",
            "CONFIG_LWIP_DHCP=y was dropped: needs LWIP_UDP, which is n because the configuration \
             sets it",
        ),
        (
            &[("CONFIG_LWIP_DHCP", "y")],
            "CONFIG_LWIP_DHCP",
            "CONFIG_LWIP_DHCP=y was dropped: needs LIBLWIP, which is n because it needs NET, \
             which is n because nothing sets it",
        ),
        (
            &[("CONFIG_LWIP_DCHP", "y")],
            "CONFIG_LWIP_DCHP",
            "CONFIG_LWIP_DCHP=y was dropped: no component has this option",
        ),
        (
            &[("CONFIG_LOG", "yes")],
            "CONFIG_LOG",
            "CONFIG_LOG=yes was dropped: the value is not valid for its type, bool",
        ),
        (
            &[("CONFIG_STACK", "65")],
            "CONFIG_STACK",
            "CONFIG_STACK=65 became 4: it must be from 1 to 64",
        ),
        (
            &[("CONFIG_BASE", "0x20")],
            "CONFIG_BASE",
            "CONFIG_BASE=0x20 became 0x1000: it must be from 0x1000 to 0x2000",
        ),
        (
            &[("CONFIG_ONE", "y"), ("CONFIG_TWO", "y")],
            "CONFIG_ONE",
            "CONFIG_ONE=y was dropped: TWO is selected for `Level`, which allows only one",
        ),
        (
            &[("CONFIG_ONE", "n")],
            "CONFIG_ONE",
            "CONFIG_ONE=n became y: `Level` requires a selection, and nothing else is selected",
        ),
        (
            &[("CONFIG_LOG", "n"), ("CONFIG_DEBUG", "y")],
            "CONFIG_LOG",
            "CONFIG_LOG=n became y: DEBUG selects it",
        ),
        (
            &[("CONFIG_HIDDEN", "y")],
            "CONFIG_HIDDEN",
            "CONFIG_HIDDEN=y was dropped: it has no prompt, and is set only where selected by USER",
        ),
        (
            &[("CONFIG_WHERE", "/mine")],
            "CONFIG_WHERE",
            "CONFIG_WHERE=/mine became /core: its value is given by the build, as UK_BASE",
        ),
        (
            &[("CONFIG_QUIET", "y"), ("CONFIG_DEBUG", "y")],
            "CONFIG_QUIET",
            "CONFIG_QUIET=y was dropped: needs !DEBUG, but DEBUG is y because the configuration \
             sets it; and needs STACK>8, but STACK is 4 because that is its default",
        ),
        (
            &[("CONFIG_LAST", "m")],
            "CONFIG_LAST",
            "CONFIG_LAST=m became y: modules are not supported, so it can be y or n only",
        ),
        (
            &[("CONFIG_STRANGE", "y")],
            "CONFIG_STRANGE",
            "CONFIG_STRANGE=y was dropped: needs NEVER_DEFINED, which no component has",
        ),
        (
            &[("CONFIG_SPEED", "fast")],
            "CONFIG_SPEED",
            "CONFIG_SPEED=fast was dropped: needs TWO, which is n because ONE is selected for \
             `Level`",
        ),
    ] {
        assert_eq!(told(asked, name), sentence, "{asked:?}");
    }
}

#[test]
fn effective_values_are_not_losses() {
    let asked = [
        ("CONFIG_STACK", "64"),
        ("CONFIG_NET", "y"),
        ("CONFIG_ABSENT", "n"),
    ];
    for (name, _) in asked {
        assert_eq!(told(&asked, name), "");
    }
}

#[test]
fn hints_name_the_root_cause() {
    let tree = Tree::parse("Config.uk", &Memory::of(TREE)).unwrap();
    let advice = |name: &str, value: &str| {
        let config: DotConfig = [(name, value)].into_iter().collect();
        tree.resolve(&config).explain(name, value).unwrap().advice()
    };
    assert_eq!(
        advice("CONFIG_LWIP_DHCP", "y").unwrap(),
        "set `CONFIG_NET=y` as well"
    );
    assert_eq!(
        advice("CONFIG_LWIP_DCHP", "y").unwrap(),
        "did you mean `CONFIG_LWIP_DHCP`?"
    );
}

#[test]
fn losses_are_serialisable() {
    let tree = Tree::parse("Config.uk", &Memory::of(TREE)).unwrap();
    let config: DotConfig = [("CONFIG_LIBLWIP", "y")].into_iter().collect();
    let loss = tree.resolve(&config).explain("LIBLWIP", "y").unwrap();
    let json = serde_json::to_value(&loss).unwrap();
    assert_eq!(json["cause"]["kind"], "needs");
    assert_eq!(json["cause"]["needs"][0]["symbol"], "NET");
    assert_eq!(json["cause"]["needs"][0]["because"]["kind"], "not-set");
}

#[test]
fn strings_that_look_like_numbers_are_quoted_by_type() {
    let tree = Tree::parse("Config.uk", &Memory::of(TREE)).unwrap();
    let text = tree.defconfig_text([("CONFIG_SPEED", "9600"), ("CONFIG_TWO", "y")]);
    assert_eq!(text, "CONFIG_SPEED=\"9600\"\nCONFIG_TWO=y\n");
    let resolved = tree.resolve(&DotConfig::parse(&text));
    assert_eq!(resolved.value("SPEED").unwrap(), "9600");
}

#[test]
fn symbols_are_found_by_name_prompt_and_help() {
    let tree = Tree::parse("Config.uk", &Memory::of(TREE)).unwrap();
    let names = |pattern: &str| -> Vec<String> {
        tree.search(pattern)
            .into_iter()
            .map(|symbol| symbol.name)
            .collect()
    };
    assert_eq!(names("lwip tcp"), ["LWIP_TCP"]);
    assert_eq!(names("networking"), ["NET"]);
    assert!(names(" ").is_empty());
    let info = tree.symbol("CONFIG_LWIP_DHCP").unwrap();
    assert_eq!(info.depends, ["LIBLWIP && LWIP_UDP"]);
    assert_eq!(info.places[0].line, 14);
    assert_eq!(tree.symbol("LOG").unwrap().selected_by, ["DEBUG"]);
    assert_eq!(tree.symbol("STACK").unwrap().ranges, ["1..64"]);
}

#[test]
fn selected_symbols_with_unmet_dependencies_are_reported() {
    let tree = Tree::parse(
        "Config.uk",
        &Memory::of(
            "config A\n\tbool \"A\"\n\tselect B\nconfig B\n\tbool \"B\"\n\tdepends on C\nconfig C\n\tbool \"C\"\n",
        ),
    )
    .unwrap();
    let told = |text: &str| -> Vec<String> {
        let resolved = tree.resolve(&DotConfig::parse(text));
        resolved.forced().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        told("CONFIG_A=y\n"),
        [
            "CONFIG_B is on because A selects it, though it needs C, which is n because nothing sets it"
        ]
    );
    assert!(told("CONFIG_A=y\nCONFIG_C=y\n").is_empty());
}
