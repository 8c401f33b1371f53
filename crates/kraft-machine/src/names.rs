//! Generated names for machines.

/// First halves of generated names.
const ADJECTIVES: [&str; 96] = [
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

/// Second halves of generated names: small animals.
const ANIMALS: [&str; 96] = [
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

/// Generates the name `adjective_animal` from a random number. From the fifth attempt on, the number
/// of the attempt is appended, so that there is always another name.
pub(crate) fn generate(random: u64, attempt: u32) -> String {
    let pick = |from: &[&'static str], random: u64| {
        let count = from.len().max(1) as u64;
        let index = usize::try_from(random % count).unwrap_or_default();
        from.get(index).copied().unwrap_or_default()
    };
    let adjective = pick(&ADJECTIVES, random & 0xffff_ffff);
    let animal = pick(&ANIMALS, random >> 32);
    // After many collisions most names are in use.
    if attempt < 4 {
        format!("{adjective}_{animal}")
    } else {
        format!("{adjective}_{animal}_{attempt}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kraft_core::machine::check_name;

    use super::*;

    #[test]
    fn every_generated_name_is_valid_and_no_word_is_listed_twice() {
        for words in [&ADJECTIVES[..], &ANIMALS[..]] {
            let distinct: BTreeSet<_> = words.iter().collect();
            assert_eq!(distinct.len(), words.len());
        }
        for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            for attempt in [0, 3, 4, 5000] {
                check_name(&generate(random, attempt)).unwrap();
            }
        }
        assert_ne!(generate(7, 4), generate(7, 5));
    }
}
