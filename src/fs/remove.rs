//! Removing a tree.

use super::cursor::Cursor;
use super::dir::Dir;
use super::entries::Names;
use super::stat::FileKind;
use std::ffi::{OsStr, OsString};
use std::io;

/// How often a directory that somebody fills meanwhile is emptied again.
const REFILL_TRIES: usize = 8;

struct Level {
    name: OsString,
    names: Names,
    next: usize,
    passes: usize,
}

/// Removes `name` and everything below it; nothing to do if it is absent.
///
/// Iterative, so that neither depth nor width matters; goes through no link and into no other
/// mount. Directories of ours that lack permissions are given them first. `on_step` is told how
/// many names are gone, and its error stops the removal.
///
/// # Errors
/// What the kernel says (EXDEV for a mount point below, EPERM for an immutable file) or `on_step`.
pub(crate) fn remove_tree(
    dir: &Dir,
    name: &OsStr,
    on_step: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut removed = 0_u64;
    let mut step = |cursor_dir: &Dir, name: &OsStr, is_dir: bool| -> io::Result<()> {
        remove_name(cursor_dir, name, is_dir)?;
        removed += 1;
        on_step(removed)
    };
    match dir.stat_at(name)? {
        None => return Ok(()),
        Some(stat) if stat.kind != FileKind::Directory => return step(dir, name, false),
        Some(_) => {}
    }
    let mut cursor = Cursor::new(dir)?;
    let mut levels = vec![enter(&mut cursor, name)?];
    while let Some(level) = levels.last_mut() {
        if let Some((name, kind)) = level.names.get(level.next) {
            level.next += 1;
            if is_directory(cursor.dir(), name, kind)? {
                let below = enter(&mut cursor, name)?;
                levels.push(below);
            } else {
                step(cursor.dir(), name, false)?;
            }
            continue;
        }
        let above = cursor.leave()?;
        match step(cursor.dir(), &level.name, true) {
            Err(error)
                if error.kind() == io::ErrorKind::DirectoryNotEmpty
                    && level.passes < REFILL_TRIES =>
            {
                drop(above);
                cursor.enter(&level.name)?;
                level.names = cursor.dir().entries()?;
                level.next = 0;
                level.passes += 1;
            }
            other => {
                other?;
                levels.pop();
            }
        }
    }
    Ok(())
}

fn is_directory(dir: &Dir, name: &OsStr, kind: Option<FileKind>) -> io::Result<bool> {
    let kind = match kind {
        Some(kind) => Some(kind),
        None => dir.stat_at(name)?.map(|stat| stat.kind),
    };
    Ok(kind == Some(FileKind::Directory))
}

/// Goes into `name` and lists it; gives us the permissions for that where they are missing.
fn enter(cursor: &mut Cursor, name: &OsStr) -> io::Result<Level> {
    if let Err(error) = cursor.enter(name) {
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Err(error);
        }
        cursor.dir().set_mode_at(name, 0o700)?;
        cursor.enter(name)?;
    }
    let names = cursor.dir().entries().or_else(|error| {
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Err(error);
        }
        cursor.dir().set_mode(0o700)?;
        cursor.dir().entries()
    })?;
    Ok(Level {
        name: name.to_owned(),
        names,
        next: 0,
        passes: 0,
    })
}

fn remove_name(dir: &Dir, name: &OsStr, is_dir: bool) -> io::Result<()> {
    let remove = || {
        if is_dir {
            dir.remove_dir(name)
        } else {
            dir.remove_file(name)
        }
    };
    match remove() {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::ACCESS.raw_os_error()) => {
            dir.set_mode(0o700)?;
            remove()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
