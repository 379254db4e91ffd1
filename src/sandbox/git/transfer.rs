//! Objects from our own store into the real one, durably.

use super::program::{Fsync, Oid, Runner};
use super::record::OWN;
use super::refs;
use super::repository::Repository;
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, Dir};
use crate::sandbox::{Outcome, Place, Work};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

/// Up to so many objects become loose ones, as git's own plumbing does with small transfers; more
/// become one pack, which costs three flushes however many they are.
const LOOSE_MAX: u32 = 24;

/// Brings the commit `new`, on top of `old`, with everything it needs into `repository`; durable
/// when it returns, and kept from being collected by a reference of our own.
///
/// # Errors
/// [`Fault::Refused`] if the objects do not pass git's strict check.
pub(super) fn transfer(
    (own, place): (&Runner, &Place),
    repository: &Repository,
    (old, new): (Option<&Oid>, &Oid),
    work: &Work<'_>,
) -> Outcome<()> {
    let failed = |error| ParticipantError::io("pack the commit", &place.dir, error);
    let store = Dir::open(&place.dir.join(OWN)).map_err(failed)?;
    let (name, file) = store.temp_file(0o600).map_err(failed)?;
    let imported = pack(own, (old, new), &file, work)
        .and_then(|()| import(own, repository, file, work))
        .and_then(|loose| {
            refs::keep(repository, &place.token, new)?;
            make_durable(repository, (old, new), loose)
        });
    // One that stays is removed with the sandbox.
    drop(store.remove_file(&name));
    imported
}

/// What `new` adds to `old`, in the words of `rev-list`.
fn range((old, new): (Option<&Oid>, &Oid)) -> String {
    let less = old.map(|old| format!("^{old}\n")).unwrap_or_default();
    format!("{new}\n{less}")
}

fn pack(own: &Runner, ends: (Option<&Oid>, &Oid), file: &File, work: &Work<'_>) -> Outcome<()> {
    let call = own.call("pack-objects");
    let call = call.args(["--revs", "--stdout", "--quiet", "--delta-base-offset"]);
    let mut writer = file;
    let answer = call
        .input(range(ends))
        .stopped_by(work)
        .stream(&mut |piece| {
            writer
                .write_all(piece)
                .map_err(|error| ParticipantError::io("pack the commit", "pack", error))
        })?;
    if answer.code != 0 {
        return Err(answer.failure());
    }
    Ok(())
}

/// True if the objects are loose ones now, false if they are a pack.
fn import(own: &Runner, repository: &Repository, mut file: File, work: &Work<'_>) -> Outcome<bool> {
    let failed = |error| ParticipantError::io("read the packed commit", "pack", error);
    let mut header = [0; 12];
    file.rewind().map_err(failed)?;
    file.read_exact(&mut header).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let count = header
        .last_chunk::<4>()
        .copied()
        .map_or(0, u32::from_be_bytes);
    let loose = count <= LOOSE_MAX;
    let real = repository.runner().fsync(Fsync::All);
    if !loose {
        check(&real, file, work)?;
        return Ok(false);
    }
    // Unpacking leaves what it wrote before it found something wrong; so ours is asked first.
    let same = file.try_clone().map_err(failed)?;
    check(own, same, work)?;
    file.rewind().map_err(failed)?;
    let call = real.call("unpack-objects").arg("-q").input_file(file);
    let answer = call.stopped_by(work).answer()?;
    if answer.code != 0 {
        return Err(answer.failure().at(&repository.common));
    }
    Ok(true)
}

/// Adds the pack in `file` to a store as it is, if nothing is wrong with the objects.
fn check(store: &Runner, file: File, work: &Work<'_>) -> Outcome<()> {
    let call = store.call("index-pack").args(["--stdin", "--strict"]);
    let answer = call.input_file(file).stopped_by(work).answer()?;
    if answer.code == 0 {
        return Ok(());
    }
    let mut failure = answer.failure();
    if failure.fault == Fault::Io {
        failure.fault = Fault::Refused;
        failure.message = format!("git does not take this commit: {}", answer.complaint());
    }
    Err(failure)
}

/// Checks from the real repository alone that everything is there, and flushes the names.
fn make_durable(repository: &Repository, ends: (Option<&Oid>, &Oid), loose: bool) -> Outcome<()> {
    let call = repository.runner().call("rev-list");
    let call = call.args(["--objects", "--no-object-names", "--stdin"]);
    let mut listed = Vec::new();
    let answer = call.input(range(ends)).stream(&mut |piece| {
        if loose {
            listed.extend_from_slice(piece);
        }
        Ok(())
    })?;
    if answer.code != 0 {
        return Err(answer.failure().at(&repository.common));
    }
    let path = repository.objects();
    let failed = |error| ParticipantError::io("make the commit durable", &path, error);
    let objects = Dir::open(&path).map_err(failed)?;
    if loose {
        for oid in String::from_utf8_lossy(&listed).lines() {
            let Some((dir, name)) = oid.split_at_checked(2) else {
                continue;
            };
            sync_loose(&objects, dir, name).map_err(failed)?;
        }
    } else {
        let pack = Dir::open(&path.join("pack")).and_then(|pack| pack.sync());
        pack.map_err(failed)?;
    }
    objects.sync().map_err(failed)
}

/// Flushes one object that is a file of its own, and its name. Somebody else may have written it
/// without a flush; one that is in a pack was there before.
fn sync_loose(objects: &Dir, dir: &str, name: &str) -> io::Result<()> {
    let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let dir = match objects.beneath(Path::new(dir)) {
        Err(error) if absent(&error) => return Ok(()),
        other => other?,
    };
    match dir.read_file(OsStr::new(name)) {
        Err(error) if absent(&error) => return Ok(()),
        other => fs::sync_all(&other?)?,
    }
    dir.sync()
}
