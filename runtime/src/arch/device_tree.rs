//! Device trees: what the machine's firmware or VMM says about it on arm64.
//!
//! Source: "Devicetree Specification", release 0.4, chapters 2 and 5.

const MAGIC: u32 = 0xd00d_feed;
/// Bytes of the header.
pub const HEADER: usize = 40;
/// The deepest node that is looked at.
const DEEPEST: usize = 16;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOTHING: u32 = 4;

/// A device tree in memory.
#[derive(Clone, Copy)]
pub struct DeviceTree<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
}

/// How many numbers of 32 bits an address and a length take.
#[derive(Clone, Copy)]
struct Cells {
    address: usize,
    size: usize,
}

/// What holds where a node says nothing.
const CELLS: Cells = Cells {
    address: 2,
    size: 1,
};

/// One node.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    tree: DeviceTree<'a>,
    /// The name with its address, `serial@9000000`.
    pub name: &'a str,
    /// Where the properties begin.
    properties: usize,
    /// How the parent writes addresses.
    cells: Cells,
}

/// A big-endian number at `at`.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// The number that some cells make; `None` if there are too many for it, or too few bytes.
fn number(bytes: &[u8]) -> Option<u64> {
    match bytes.len() {
        0 => Some(0),
        4 => word(bytes, 0).map(u64::from),
        8 => Some(u64::from(word(bytes, 0)?) << 32 | u64::from(word(bytes, 4)?)),
        _ => None,
    }
}

/// A text that ends with a zero byte.
fn text(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(rest.get(..end)?).ok()
}

fn aligned(at: usize) -> usize {
    at.saturating_add(3) & !3
}

/// One step through the structure.
enum Token<'a> {
    Begin(&'a str),
    End,
    Property(&'a str, &'a [u8]),
    Nothing,
}

/// The bytes from the start of the tree that are in use, by its header.
pub fn used_bytes(header: &[u8]) -> Option<usize> {
    if word(header, 0)? != MAGIC {
        return None;
    }
    let total = word(header, 4)? as usize;
    // Structure, strings: offset and size.
    let ends = [(8, 36), (12, 32)].map(|(offset, size)| {
        Some((word(header, offset)? as usize).saturating_add(word(header, size)? as usize))
    });
    let [structure, strings] = ends;
    Some(structure?.max(strings?).min(total).max(HEADER))
}

impl<'a> DeviceTree<'a> {
    /// A tree in memory; `None` if it is none.
    pub fn new(bytes: &'a [u8]) -> Option<DeviceTree<'a>> {
        used_bytes(bytes)?;
        let part = |offset: usize, size: usize| {
            let start = word(bytes, offset)? as usize;
            bytes.get(start..start.checked_add(word(bytes, size)? as usize)?)
        };
        Some(DeviceTree {
            structure: part(8, 36)?,
            strings: part(12, 32)?,
        })
    }

    /// What is at an offset of the structure, and the offset of what follows.
    fn token(&self, at: usize) -> Option<(Token<'a>, usize)> {
        let body = at.checked_add(4)?;
        match word(self.structure, at)? {
            BEGIN_NODE => {
                let name = text(self.structure, body)?;
                Some((Token::Begin(name), aligned(body + name.len() + 1)))
            }
            END_NODE => Some((Token::End, body)),
            PROPERTY => {
                let length = word(self.structure, body)? as usize;
                let name = text(self.strings, word(self.structure, body + 4)? as usize)?;
                let start = body + 8;
                let end = start.checked_add(length)?;
                let value = self.structure.get(start..end)?;
                Some((Token::Property(name, value), aligned(end)))
            }
            NOTHING => Some((Token::Nothing, body)),
            _ => None,
        }
    }

    /// All nodes, parents before their children.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let tree = *self;
        let mut at = 0;
        let mut depth = 0;
        // How each open node wants its children's addresses written.
        let mut open = [CELLS; DEEPEST];
        core::iter::from_fn(move || {
            loop {
                let (token, next) = tree.token(at)?;
                at = next;
                match token {
                    Token::Begin(name) => {
                        let cells = match depth {
                            0 => CELLS,
                            _ => *open.get(depth - 1)?,
                        };
                        let node = Node {
                            tree,
                            name,
                            properties: next,
                            cells,
                        };
                        *open.get_mut(depth)? = node.cells_of_children();
                        depth += 1;
                        return Some(node);
                    }
                    Token::End => depth = depth.checked_sub(1)?,
                    Token::Property(..) | Token::Nothing => {}
                }
            }
        })
    }

    /// The nodes of devices that are compatible with one of `kinds`.
    pub fn devices(
        &self,
        kinds: &'static [&'static str],
    ) -> impl Iterator<Item = Node<'a>> + use<'a> {
        self.nodes().filter(move |node| {
            kinds.iter().any(|kind| node.is_compatible(kind)) && node.is_usable()
        })
    }
}

impl<'a> Node<'a> {
    fn properties(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let tree = self.tree;
        let mut at = self.properties;
        core::iter::from_fn(move || {
            loop {
                let (token, next) = tree.token(at)?;
                at = next;
                match token {
                    Token::Property(name, value) => return Some((name, value)),
                    Token::Nothing => {}
                    Token::Begin(_) | Token::End => return None,
                }
            }
        })
    }

    /// The bytes of a property.
    pub fn property(&self, name: &str) -> Option<&'a [u8]> {
        self.properties()
            .find(|&(other, _)| other == name)
            .map(|(_, value)| value)
    }

    /// A property that is one number of 32 or 64 bits.
    pub fn number(&self, name: &str) -> Option<u64> {
        number(self.property(name)?)
    }

    /// A property's list of numbers of 32 bits.
    pub fn words(&self, name: &str) -> impl Iterator<Item = u32> + use<'a> {
        self.property(name)
            .unwrap_or_default()
            .chunks_exact(4)
            .filter_map(|bytes| word(bytes, 0))
    }

    /// A property's text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        text(self.property(name)?, 0)
    }

    /// Whether `compatible` has a name.
    pub fn is_compatible(&self, name: &str) -> bool {
        self.property("compatible").is_some_and(|names| {
            names
                .split(|&byte| byte == 0)
                .any(|other| other == name.as_bytes())
        })
    }

    /// Whether the device is there.
    fn is_usable(&self) -> bool {
        self.text("status")
            .is_none_or(|status| matches!(status, "okay" | "ok"))
    }

    fn cells_of_children(&self) -> Cells {
        let count = |name, otherwise| {
            self.number(name)
                .map_or(otherwise, |count| count.min(4) as usize)
        };
        Cells {
            address: count("#address-cells", CELLS.address),
            size: count("#size-cells", CELLS.size),
        }
    }

    /// The ranges of addresses in `reg`, as (start, bytes).
    pub fn ranges(&self) -> impl Iterator<Item = (usize, usize)> + use<'a> {
        let (address, size) = (self.cells.address * 4, self.cells.size * 4);
        self.property("reg")
            .unwrap_or_default()
            .chunks_exact((address + size).max(4))
            .filter_map(move |range| {
                let start = number(range.get(..address)?)?;
                let length = number(range.get(address..)?)?;
                Some((start as usize, length as usize))
            })
    }

    /// The number of an interrupt of a GIC: the first ones of `interrupts` are `index` 0.
    pub fn interrupt(&self, index: usize) -> Option<u32> {
        let mut words = self.words("interrupts").skip(index.checked_mul(3)?);
        gic_interrupt(words.next()?, words.next()?)
    }
}

/// The number of an interrupt by its kind (0: of devices, 1: of the processor) and its number of
/// that kind.
fn gic_interrupt(kind: u32, number: u32) -> Option<u32> {
    match kind {
        0 => Some(number.checked_add(32)?).filter(|&number| number < 1020),
        1 if number < 16 => Some(number + 16),
        _ => None,
    }
}

/// The PCI bus of a machine.
pub struct Pci<'a> {
    node: Node<'a>,
    /// Where the configuration space is: start and bytes.
    pub configuration: (usize, usize),
    /// Where registers of devices can be put, with addresses of 32 bits: start and bytes.
    pub memory: (usize, usize),
    /// How the interrupt controller writes addresses, in numbers.
    controller_address: usize,
}

impl<'a> Pci<'a> {
    /// The bus, if the machine has one.
    pub fn find(tree: &DeviceTree<'a>) -> Option<Pci<'a>> {
        const MEMORY_32: u32 = 2;
        let node = tree.devices(&["pci-host-ecam-generic"]).next()?;
        let configuration = node.ranges().next()?;
        // An address of the bus has three numbers, one of the machine as many as the parent
        // says, and a length two.
        let parent = node.cells.address;
        let memory = node
            .property("ranges")?
            .chunks_exact((3 + parent + 2) * 4)
            .find_map(|range| {
                let kind = word(range, 0)? >> 24 & 3;
                let bus = number(range.get(4..12)?)?;
                let machine = number(range.get(12..12 + parent * 4)?)?;
                let length = number(range.get(12 + parent * 4..)?)?;
                (kind == MEMORY_32 && bus == machine).then_some((machine as usize, length as usize))
            })?;
        let controller = node.words("interrupt-map").nth(4);
        let controller_address = tree
            .nodes()
            .find(|other| {
                controller.is_some() && other.number("phandle") == controller.map(u64::from)
            })
            .map_or(0, |controller| {
                controller
                    .number("#address-cells")
                    .map_or(0, |cells| cells.min(2) as usize)
            });
        Some(Pci {
            node,
            configuration,
            memory,
            controller_address,
        })
    }

    /// The interrupt of a device by its number on the bus and its pin (1 to 4).
    pub fn interrupt(&self, device: u8, pin: u32) -> Option<u32> {
        let mask: u32 = self.node.words("interrupt-map-mask").next()?;
        let wanted = u32::from(device) << 11 & mask;
        // Three numbers of an address, the pin, the controller, its address and interrupt.
        let length = 3 + 1 + 1 + self.controller_address + 3;
        self.node
            .property("interrupt-map")?
            .chunks_exact(length * 4)
            .find_map(|entry| {
                let at = |index: usize| word(entry, index * 4);
                if at(0)? & mask != wanted || at(3)? != pin {
                    return None;
                }
                let interrupt = 5 + self.controller_address;
                gic_interrupt(at(interrupt)?, at(interrupt + 1)?)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a tree.
    #[derive(Default)]
    struct Writer {
        structure: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Writer {
        fn word(&mut self, value: u32) {
            self.structure.extend(value.to_be_bytes());
        }

        fn pad(&mut self) {
            self.structure.resize(aligned(self.structure.len()), 0);
        }

        fn begin(&mut self, name: &str) {
            self.word(BEGIN_NODE);
            self.structure.extend(name.as_bytes());
            self.structure.push(0);
            self.pad();
        }

        fn property(&mut self, name: &str, value: &[u8]) {
            self.word(PROPERTY);
            self.word(value.len() as u32);
            let at = self.strings.len() as u32;
            self.word(at);
            self.strings.extend(name.as_bytes());
            self.strings.push(0);
            self.structure.extend(value);
            self.pad();
        }

        fn words(&mut self, name: &str, words: &[u32]) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            self.property(name, &bytes);
        }

        fn end(&mut self) {
            self.word(END_NODE);
        }

        fn finish(mut self) -> Vec<u8> {
            self.word(9);
            let mut bytes = vec![0; HEADER];
            let mut put = |at: usize, value: usize| {
                bytes[at..at + 4].copy_from_slice(&(value as u32).to_be_bytes());
            };
            put(0, MAGIC as usize);
            put(4, HEADER + self.structure.len() + self.strings.len() + 1000);
            put(8, HEADER);
            put(12, HEADER + self.structure.len());
            put(32, self.strings.len());
            put(36, self.structure.len());
            bytes.extend(self.structure);
            bytes.extend(self.strings);
            bytes
        }
    }

    fn machine() -> Vec<u8> {
        let mut tree = Writer::default();
        tree.begin("");
        tree.words("#address-cells", &[2]);
        tree.words("#size-cells", &[2]);
        tree.begin("memory@40000000");
        tree.words("reg", &[0, 0x4000_0000, 1, 0x800_0000]);
        tree.end();
        tree.begin("intc@8000000");
        tree.words("phandle", &[7]);
        tree.words("#address-cells", &[2]);
        tree.end();
        tree.begin("serial@9000000");
        tree.property("compatible", b"arm,pl011\0arm,primecell\0");
        tree.words("reg", &[0, 0x900_0000, 0, 0x1000]);
        tree.words("interrupts", &[0, 1, 4]);
        tree.end();
        tree.begin("serial@9040000");
        tree.property("compatible", b"arm,pl011\0");
        tree.property("status", b"disabled\0");
        tree.end();
        tree.begin("timer");
        tree.property("compatible", b"arm,armv8-timer\0");
        tree.words("interrupts", &[1, 13, 4, 1, 14, 4, 1, 11, 4]);
        tree.end();
        tree.begin("pcie@10000000");
        tree.property("compatible", b"pci-host-ecam-generic\0");
        tree.words("reg", &[0x40, 0x1000_0000, 0, 0x1000_0000]);
        tree.words(
            "ranges",
            &[
                0x0100_0000,
                0,
                0,
                0,
                0x3eff_0000,
                0,
                0x1_0000, //
                0x0200_0000,
                0,
                0x1000_0000,
                0,
                0x1000_0000,
                0,
                0x2eff_0000,
            ],
        );
        tree.words("interrupt-map-mask", &[0x1800, 0, 0, 7]);
        tree.words(
            "interrupt-map",
            &[
                0, 0, 0, 1, 7, 0, 0, 0, 3, 4, //
                0x800, 0, 0, 1, 7, 0, 0, 0, 4, 4,
            ],
        );
        tree.end();
        tree.begin("chosen");
        tree.words("linux,initrd-start", &[0x4800_0000]);
        tree.property("bootargs", b"kernel -- /a\0");
        tree.end();
        tree.end();
        tree.finish()
    }

    #[test]
    fn a_machine_is_read() {
        let bytes = machine();
        assert_eq!(used_bytes(&bytes), Some(bytes.len()));
        let tree = DeviceTree::new(&bytes).unwrap();
        let names: Vec<&str> = tree.nodes().map(|node| node.name).collect();
        assert_eq!(names.len(), 8);
        let memory = tree.nodes().find(|node| node.name == "memory@40000000");
        let ranges: Vec<_> = memory.unwrap().ranges().collect();
        assert_eq!(ranges, [(0x4000_0000, 0x1_0800_0000)]);
        let consoles: Vec<_> = tree.devices(&["arm,pl011"]).collect();
        assert_eq!(consoles.len(), 1);
        assert_eq!(consoles[0].interrupt(0), Some(33));
        let timer = tree.devices(&["arm,armv8-timer"]).next().unwrap();
        assert_eq!(timer.interrupt(2), Some(27));
        assert_eq!(timer.interrupt(3), None);
        let chosen = tree.nodes().find(|node| node.name == "chosen").unwrap();
        assert_eq!(chosen.number("linux,initrd-start"), Some(0x4800_0000));
        assert_eq!(chosen.text("bootargs"), Some("kernel -- /a"));
    }

    #[test]
    fn the_bus_has_memory_and_interrupts() {
        let bytes = machine();
        let pci = Pci::find(&DeviceTree::new(&bytes).unwrap()).unwrap();
        assert_eq!(pci.configuration, (0x40_1000_0000, 0x1000_0000));
        assert_eq!(pci.memory, (0x1000_0000, 0x2eff_0000));
        assert_eq!(pci.interrupt(4, 1), Some(35));
        assert_eq!(pci.interrupt(1, 1), Some(36));
        assert_eq!(pci.interrupt(2, 1), None);
    }

    #[test]
    fn a_broken_tree_ends_early() {
        let whole = machine();
        for length in 0..whole.len() {
            if let Some(tree) = DeviceTree::new(&whole[..length]) {
                tree.nodes().for_each(drop);
            }
        }
        // Each byte in turn becomes what it should not be.
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            if let Some(tree) = DeviceTree::new(&broken) {
                for node in tree.nodes() {
                    node.ranges().for_each(drop);
                    let _ = node.interrupt(0);
                }
                let _ = Pci::find(&tree).map(|pci| pci.interrupt(1, 1));
            }
        }
    }
}
