//! Names for machines that were given none.

/// First halves of made-up names.
const QUALITIES: [&str; 96] = [
    "airy", "amber", "ample", "azure", "balmy", "blithe", "bold", "brave", "breezy", "brisk",
    "calm", "candid", "cheery", "chipper", "civil", "clever", "cosy", "crisp", "curious", "dapper",
    "daring", "deft", "dewy", "downy", "eager", "early", "earnest", "easy", "elfin", "fabled",
    "fair", "fleet", "fluent", "fond", "frank", "fresh", "frosty", "gentle", "giddy", "glad",
    "golden", "grand", "hale", "handy", "hardy", "hazel", "hearty", "honest", "humble", "ivory",
    "jaunty", "jolly", "jovial", "keen", "kind", "lively", "lofty", "lucid", "lucky", "lunar",
    "mellow", "merry", "mighty", "mild", "mirthful", "modest", "neat", "nimble", "noble", "opal",
    "patient", "placid", "plucky", "polite", "proud", "quick", "quiet", "quirky", "rapid", "ready",
    "regal", "rosy", "sage", "serene", "silver", "sleek", "snug", "solar", "spry", "stout",
    "sunny", "swift", "tidy", "vivid", "witty", "zesty",
];

/// Second halves: small and nimble, like what they name.
const CREATURES: [&str; 96] = [
    "ant",
    "axolotl",
    "badger",
    "bat",
    "beaver",
    "bee",
    "beetle",
    "bilby",
    "bittern",
    "bunting",
    "caracal",
    "chaffinch",
    "chamois",
    "cicada",
    "civet",
    "coati",
    "coot",
    "cricket",
    "curlew",
    "dace",
    "degu",
    "dipper",
    "dormouse",
    "dove",
    "dragonfly",
    "dunlin",
    "egret",
    "ermine",
    "falcon",
    "fennec",
    "ferret",
    "finch",
    "firefly",
    "gecko",
    "genet",
    "gerbil",
    "godwit",
    "goldfinch",
    "gopher",
    "grebe",
    "hamster",
    "hare",
    "hedgehog",
    "heron",
    "hoopoe",
    "ibex",
    "jackdaw",
    "jay",
    "jerboa",
    "kestrel",
    "kingfisher",
    "kiwi",
    "lapwing",
    "lark",
    "lemming",
    "lemur",
    "linnet",
    "lizard",
    "loon",
    "lynx",
    "magpie",
    "marmot",
    "marten",
    "martin",
    "merlin",
    "mink",
    "minnow",
    "mole",
    "moth",
    "newt",
    "nuthatch",
    "ocelot",
    "oriole",
    "osprey",
    "otter",
    "owl",
    "pika",
    "pipit",
    "plover",
    "quail",
    "quokka",
    "raven",
    "redstart",
    "robin",
    "sandpiper",
    "shrew",
    "siskin",
    "skink",
    "sparrow",
    "stoat",
    "swallow",
    "tamarin",
    "tern",
    "vole",
    "wagtail",
    "wren",
];

/// Makes up a name from a random number, `adjective_noun`; `attempt` above zero adds that number,
/// so that there is always another name.
pub(crate) fn make_up(random: u64, attempt: u32) -> String {
    let pick = |from: &[&'static str], random: u64| {
        let count = from.len().max(1) as u64;
        let index = usize::try_from(random % count).unwrap_or_default();
        from.get(index).copied().unwrap_or_default()
    };
    let quality = pick(&QUALITIES, random & 0xffff_ffff);
    let creature = pick(&CREATURES, random >> 32);
    // A few collisions are chance; many mean that the names run out.
    if attempt < 4 {
        format!("{quality}_{creature}")
    } else {
        format!("{quality}_{creature}_{attempt}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kraft_core::machine::check_name;

    use super::*;

    #[test]
    fn every_made_up_name_is_a_good_one_and_none_is_twice_in_the_lists() {
        for words in [&QUALITIES[..], &CREATURES[..]] {
            let distinct: BTreeSet<_> = words.iter().collect();
            assert_eq!(distinct.len(), words.len());
        }
        for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            for attempt in [0, 3, 4, 5000] {
                check_name(&make_up(random, attempt)).unwrap();
            }
        }
        assert_ne!(make_up(7, 4), make_up(7, 5));
    }
}
