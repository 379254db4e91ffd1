//! Stored manifests: whole ones, and every kind of damage.

use super::exclude::Exclusions;
use super::manifest::{Entry, Extra, LeftOut, Manifest, Signature};
use super::stored::MAGIC;
use crate::fs::FileKind;
use proptest::prelude::*;
use std::io;

fn signature(seed: u64) -> Signature {
    let small = u32::try_from(seed % 4_096).unwrap();
    Signature {
        dev: seed,
        ino: !seed,
        kind: FileKind::Directory,
        mode: small,
        uid: small + 1,
        gid: small + 2,
        nlink: 1,
        size: seed.rotate_left(7),
        mtime: (i64::from_le_bytes(seed.to_le_bytes()), small),
        ctime: (1, 2),
    }
}

fn entry(parent: u32, name: &[u8], extra: Option<Extra>) -> Entry {
    Entry {
        parent,
        name: Box::from(name),
        base: signature(7),
        view: signature(u64::from(parent) + 99),
        left_out: None,
        extra: extra.map(Box::new),
        children: 0..0,
    }
}

/// A tree with every feature of the format.
fn sample() -> Manifest {
    let extra = Extra {
        link_target: Some(Box::from(*b"../\xff")),
        xattr_digest: Some([1; 32]),
        content_digest: Some([2; 32]),
        racy: true,
    };
    let mut entries = vec![
        entry(0, b"", None),
        entry(0, b"\n", None),
        entry(0, b"a", Some(extra)),
        entry(0, b"b", None),
        entry(2, b"c", None),
    ];
    entries[0].children = 1..4;
    entries[2].children = 4..5;
    entries[3].left_out = Some(LeftOut::Special(FileKind::Socket));
    entries[3].view = entries[3].base;
    Manifest {
        entries,
        exclusions: Exclusions::default(),
        boot: "a-boot".to_owned(),
    }
}

fn stored(manifest: &Manifest) -> Vec<u8> {
    let mut bytes = Vec::new();
    manifest.write_to(&mut bytes).unwrap();
    bytes
}

/// Bytes with a good checksum, whatever is before it.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let seal = blake3::hash(&bytes);
    bytes.extend(seal.as_bytes());
    bytes
}

#[test]
fn what_was_written_is_read() {
    let bytes = stored(&sample());
    assert_eq!(Manifest::read_from(&*bytes).unwrap(), sample());
}

#[test]
fn a_cut_or_flipped_file_is_refused() {
    let bytes = stored(&sample());
    for end in 0..bytes.len() {
        assert!(Manifest::read_from(&bytes[..end]).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let read = Manifest::read_from(&*flipped);
            assert!(read.is_err(), "bit {bit} of byte {at}");
        }
    }
    let longer = [bytes.as_slice(), b"x"].concat();
    assert!(Manifest::read_from(&*longer).is_err());
}

#[test]
fn a_tree_that_is_none_is_refused_in_spite_of_its_checksum() {
    type Spoil = fn(&mut Vec<Entry>);
    let spoil: [(&str, Spoil); 9] = [
        ("out of order", |all| all.swap(1, 2)),
        ("twice", |all| all[2].name = Box::from(*b"\n")),
        ("a parent behind", |all| all[1].parent = 4),
        ("no such parent", |all| all[4].parent = 1_000),
        ("a parent that was left out", |all| all[4].parent = 3),
        ("a path for a name", |all| all[4].name = Box::from(*b"../x")),
        ("a way up", |all| all[4].name = Box::from(*b"..")),
        ("a root with a name", |all| all[0].name = Box::from(*b"x")),
        ("no root", Vec::clear),
    ];
    for (what, spoil) in spoil {
        let mut manifest = sample();
        spoil(&mut manifest.entries);
        let error = Manifest::read_from(&*stored(&manifest)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}");
    }
}

#[test]
fn children_of_one_directory_stand_together() {
    let mut manifest = sample();
    manifest.entries.push(entry(0, b"d", None));
    assert!(Manifest::read_from(&*stored(&manifest)).is_err());
}

#[test]
fn a_name_beyond_the_limit_is_not_written() {
    let mut manifest = sample();
    manifest.entries[4].name = vec![b'x'; 1_025].into();
    let error = manifest.write_to(io::sink()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Manifest::read_from(&*bytes).is_err());
        // Behind a good beginning and before a good checksum too.
        let head = [MAGIC.as_slice(), &[0; 8], &2_u64.to_le_bytes(), b"[]"].concat();
        drop(Manifest::read_from(&*sealed([head.as_slice(), &bytes].concat())));
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0_usize..2_000, bytes in proptest::collection::vec(any::<u8>(), 1..9)) {
        let mut damaged = stored(&sample());
        damaged.truncate(damaged.len() - 32);
        let at = at % damaged.len();
        damaged.splice(at..(at + bytes.len()).min(damaged.len()), bytes);
        if let Ok(manifest) = Manifest::read_from(&*sealed(damaged)) {
            for index in 0..manifest.entries().len() {
                let index = u32::try_from(index).unwrap();
                let path = manifest.path_of(index);
                prop_assert_eq!(manifest.lookup(&path), Some(index));
            }
        }
    }
}
