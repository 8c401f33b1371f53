//! Compressed streams: members, segments, padding, damage and bombs.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and says where"
)]

use std::io::{self, Read, Write};

use kraft_archive::compression::{Compression, Stream, decompress};

const ALL: [Compression; 4] = [
    Compression::Gzip,
    Compression::Bzip2,
    Compression::Xz,
    Compression::Zstd,
];

fn packed(by: Compression, plain: &[u8]) -> Vec<u8> {
    match by {
        Compression::None => plain.to_vec(),
        Compression::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(plain).unwrap();
            out.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            out.write_all(plain).unwrap();
            out.finish().unwrap()
        }
        Compression::Xz => {
            let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
            out.write_all(plain).unwrap();
            out.finish().unwrap()
        }
        Compression::Zstd => {
            let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
            out.include_checksum(true).unwrap();
            out.write_all(plain).unwrap();
            out.finish().unwrap()
        }
    }
}

fn plain(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    decompress(bytes)?.read_to_end(&mut plain)?;
    Ok(plain)
}

/// Gives one byte at a time, and is interrupted before each.
struct Slow<'a>(&'a [u8], bool);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn one_member_several_and_zeros_behind_them_are_one_stream() {
    for by in ALL {
        let (one, two) = (packed(by, b"one, "), packed(by, b"two"));
        assert_eq!(decompress(one.as_slice()).unwrap().compression(), by);
        assert_eq!(plain(&one).unwrap(), b"one, ", "{by:?}");
        assert_eq!(
            plain(&[one.as_slice(), &two].concat()).unwrap(),
            b"one, two",
            "{by:?}"
        );
        let padded = [one.as_slice(), &two, &[0; 5000]].concat();
        assert_eq!(plain(&padded).unwrap(), b"one, two", "{by:?}");
        let mut slowly = Vec::new();
        let mut stream = decompress(Slow(&padded, false)).unwrap();
        stream.read_to_end(&mut slowly).unwrap();
        assert_eq!(slowly, b"one, two", "{by:?}");
        assert_eq!(plain(&packed(by, b"")).unwrap(), b"", "{by:?}");
    }
    assert_eq!(plain(b"").unwrap(), b"");
    assert_eq!(plain(b"plain\0\0").unwrap(), b"plain\0\0");
    let skippable = [
        b"\x50\x2a\x4d\x18\x04\0\0\0abcd".as_slice(),
        &packed(Compression::Zstd, b"x"),
    ];
    assert_eq!(plain(&skippable.concat()).unwrap(), b"x");
}

#[test]
fn what_is_cut_off_damaged_or_followed_by_something_else_is_an_error() {
    let text: Vec<u8> = (0..20_000u32).flat_map(u32::to_le_bytes).collect();
    for by in ALL {
        let whole = packed(by, &text);
        for length in [12, whole.len() / 2, whole.len() - 1] {
            assert!(plain(&whole[..length]).is_err(), "{by:?} {length}");
        }
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        assert!(plain(&damaged).is_err(), "{by:?}");
        let error = plain(&[whole.as_slice(), b"garbage"].concat()).unwrap_err();
        assert!(
            error.to_string().contains("data after its end"),
            "{by:?}: {error}"
        );
    }
}

#[test]
fn segments_are_looked_at_one_by_one() {
    for by in ALL {
        let bytes = [
            b"first\0\0".as_slice(),
            &packed(by, b"second"),
            &[0; 9],
            &packed(by, b"\0\0third"),
        ];
        let bytes = bytes.concat();
        let mut stream = Stream::new(bytes.as_slice()).unwrap();
        let mut part = [0; 5];
        stream.read_exact(&mut part).unwrap();
        assert_eq!(&part, b"first");
        assert!(stream.next_segment().unwrap());
        assert_eq!(stream.compression(), by);
        let mut second = Vec::new();
        stream.read_to_end(&mut second).unwrap();
        assert_eq!(second, b"second");
        assert!(stream.next_segment().unwrap());
        // Zeros inside a compressed segment are passed over as well.
        assert!(stream.next_segment().unwrap());
        let mut third = Vec::new();
        stream.read_to_end(&mut third).unwrap();
        assert_eq!(third.strip_prefix(b"\0\0").unwrap_or(&third), b"third");
        assert!(!stream.next_segment().unwrap());
    }
}

#[test]
fn a_bomb_ends_at_the_limit() {
    // A frame of zeros is some hundred bytes; many of them expand a thousandfold.
    let frame = packed(Compression::Zstd, &vec![0; 64 << 20]);
    let bomb = frame.repeat(80);
    let mut stream = decompress(bomb.as_slice()).unwrap();
    let error = io::copy(&mut stream, &mut io::sink()).unwrap_err();
    assert!(error.to_string().contains("more than 4 GiB"), "{error}");
}
