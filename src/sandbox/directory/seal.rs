//! Freezing what the plan changed: the delta, staged, as operations.

use super::attributes;
use super::delta::{Delta, Item, Kind, Sides, delta, open_view};
use super::manifest::{Entry, Manifest};
use super::ops::{Act, Attributes, DirTime, FORMAT, Image, Op, SealedFile, What};
use super::stage::Stager;
use super::staging::{Site, Staging, slot};
use super::text::Rel;
use super::tree::digest;
use crate::error::{Fault, ParticipantError};
use crate::fs::Dir;
use crate::sandbox::{Outcome, Work};
use std::collections::HashMap;
use std::ffi::OsStr;

/// The directory that must be writable and searchable while its names change.
const OWNER_MAY: u32 = 0o300;

/// The slots, and the modes that what is in them is to have.
type Staged<'a> = (&'a Staging, &'a HashMap<u64, u32>);

/// Stages what `sides` differ in at `site`.
///
/// # Errors
/// A [`ParticipantError`]; what was staged until then is thrown away by the next attempt.
pub(super) fn seal(
    sides: Sides<'_>,
    root: &Dir,
    site: Site<'_>,
    work: &Work<'_>,
) -> Outcome<SealedFile> {
    let (view, manifest) = (sides.view, sides.manifest);
    let Delta { items, changes } = delta(sides, work)?;
    site.remove(Some(root))?;
    if items.is_empty() {
        return Ok(SealedFile {
            version: FORMAT,
            ops: Vec::new(),
            times: Vec::new(),
            changes,
            inodes: 0,
            bytes: 0,
            digest: blake3::hash(b"").to_hex().to_string(),
        });
    }
    let staging = site.make(root)?;
    let mut stager = Stager {
        new: &staging.new,
        exclusions: manifest.exclusions(),
        work,
        hasher: blake3::Hasher::new(),
        inodes: 0,
        bytes: 0,
        links: HashMap::new(),
    };
    let mut modes = HashMap::new();
    for (number, item) in (0..).zip(&items) {
        hash_item(&mut stager.hasher, item);
        if matches!(item.kind, Kind::Create | Kind::Replace) {
            let (parent, name) = split(&item.path)?;
            let from = open_view(view, &parent)?;
            let mode = stager.stage(&from, name, (&slot(number), item.path.as_path()))?;
            modes.insert(number, mode);
        }
    }
    let (mut hasher, inodes, bytes) = (stager.hasher, stager.inodes, stager.bytes);
    let ops = operations((view, manifest), (&staging, &modes), &items)?;
    hash_attributes(&mut hasher, &ops);
    Ok(SealedFile {
        version: FORMAT,
        times: times(view, manifest, &items)?,
        ops,
        changes,
        inodes,
        bytes,
        digest: hasher.finalize().to_hex().to_string(),
    })
}

/// The operations in the order of execution.
///
/// A directory that is to become writable comes before what happens in it, one that is to become
/// unwritable after.
fn operations(
    (view, manifest): (&Dir, &Manifest),
    staged: Staged<'_>,
    items: &[Item],
) -> Outcome<Vec<Op>> {
    let (mut first, mut middle, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for (number, item) in (0..).zip(items) {
        let op = operation(view, manifest, staged, (number, item))?;
        match &op.act {
            Act::Meta { base, .. } if base.mode & OWNER_MAY != OWNER_MAY => first.push(op),
            Act::Meta { .. } => last.push(op),
            _ => middle.push(op),
        }
    }
    last.reverse();
    first.append(&mut middle);
    first.append(&mut last);
    Ok(first)
}

fn operation(
    view: &Dir,
    manifest: &Manifest,
    staged: Staged<'_>,
    (number, item): (u64, &Item),
) -> Outcome<Op> {
    let base = || {
        let entry = item.touched.was.and_then(|was| manifest.get(was));
        entry.and_then(image_of_base).ok_or_else(impossible)
    };
    let holder = manifest
        .get(item.touched.parent)
        .ok_or_else(impossible)?
        .base;
    let mut parent = (holder.dev, holder.ino);
    let act = match item.kind {
        Kind::Create => Act::Create {
            slot: number,
            staged: image_of_staged(staged, number)?,
        },
        Kind::Replace => Act::Replace {
            slot: number,
            staged: image_of_staged(staged, number)?,
            base: base()?,
        },
        Kind::Delete => Act::Delete {
            slot: number,
            base: base()?,
        },
        Kind::Meta => {
            let base = base()?;
            parent = (base.dev, base.ino);
            let dir = open_view(view, &item.path)?;
            let new = attributes::read(&dir)
                .map_err(|e| ParticipantError::io("read the sandbox", item.path.as_path(), e))?;
            let old = Attributes {
                mode: base.mode,
                xattrs: Vec::new(),
            };
            Act::Meta {
                slot: number,
                base,
                old,
                new,
            }
        }
    };
    Ok(Op {
        path: item.path.clone(),
        parent,
        act,
    })
}

fn image_of_base(entry: &Entry) -> Option<Image> {
    let base = &entry.base;
    let what = What::of(base.kind)?;
    Some(Image {
        dev: base.dev,
        ino: base.ino,
        what,
        size: if what == What::Directory {
            0
        } else {
            base.size
        },
        mtime: base.mtime,
        mode: base.mode,
        ctime: None,
        tree: None,
    })
}

/// What waits in a slot, with the mode it is to have in its place.
fn image_of_staged((staging, modes): Staged<'_>, number: u64) -> Outcome<Image> {
    let new = &staging.new;
    let name = slot(number);
    let name = OsStr::new(&name);
    let failed = |error| ParticipantError::io("look at a staging slot", name, error);
    let stat = new.stat_at(name).map_err(failed)?.ok_or_else(impossible)?;
    let mut image = Image::of(&stat).ok_or_else(impossible)?;
    if image.what == What::Directory {
        image.mode = modes.get(&number).copied().unwrap_or(image.mode);
        image.tree = Some(digest(new, name)?);
    }
    Ok(image)
}

/// The times that the plan's directories have, for those whose names change.
fn times(view: &Dir, manifest: &Manifest, items: &[Item]) -> Outcome<Vec<DirTime>> {
    let mut times = Vec::new();
    let mut last = None;
    for item in items {
        let (index, path) = match item.kind {
            Kind::Meta => (item.touched.was.unwrap_or_default(), item.path.clone()),
            _ => (item.touched.parent, split(&item.path)?.0),
        };
        if last == Some(index) {
            continue;
        }
        last = Some(index);
        let entry = manifest.get(index).ok_or_else(impossible)?;
        let now = open_view(view, &path)?
            .stat()
            .map_err(|e| ParticipantError::io("read the sandbox", path.as_path(), e))?;
        times.push(DirTime {
            path,
            id: (entry.base.dev, entry.base.ino),
            old: entry.base.mtime,
            new: Some(now.mtime),
        });
    }
    times.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    times.dedup();
    Ok(times)
}

fn hash_item(hasher: &mut blake3::Hasher, item: &Item) {
    use std::os::unix::ffi::OsStrExt as _;
    let path = item.path.as_path().as_os_str().as_bytes();
    hasher.update(&[item.kind as u8]);
    hasher.update(&(path.len() as u64).to_le_bytes());
    hasher.update(path);
}

fn hash_attributes(hasher: &mut blake3::Hasher, ops: &[Op]) {
    for op in ops {
        match &op.act {
            Act::Meta { new, .. } => {
                hasher.update(&new.mode.to_le_bytes());
                for (name, value) in &new.xattrs {
                    for part in [&name.0, &value.0] {
                        hasher.update(&(part.len() as u64).to_le_bytes());
                        hasher.update(part);
                    }
                }
            }
            // The top of a tree waits with other bits than it will have.
            Act::Create { staged, .. } | Act::Replace { staged, .. } => {
                hasher.update(&staged.mode.to_le_bytes());
            }
            Act::Delete { .. } => {}
        }
    }
}

fn split(path: &Rel) -> Outcome<(Rel, &OsStr)> {
    path.split().ok_or_else(impossible)
}

fn impossible() -> ParticipantError {
    ParticipantError::new(
        Fault::Corrupt,
        "the scan and the manifest do not fit together",
    )
}
