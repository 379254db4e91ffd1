//! What is refused, and that nothing was written then.

use super::*;
use crate::id::ResourceName;
use crate::sandbox::directory::{ViewChoice, ViewKind};
use rustix::fs::{CWD, FileType, IFlags, Mode};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

fn furnish(world: &World) {
    for name in ["a", "b", "c", "sub/x", "sub/.git/config", "sub/deep/y"] {
        world.put(name, name);
    }
}

#[test]
fn what_is_no_directory_is_no_resource() {
    let world = World::new();
    world.put("file", "x");
    symlink(world.real.path(), world.real("link")).unwrap();
    for path in ["absent", "file", "link", "link/", "link/."] {
        let directory = Directory::at(world.real.path().join(path));
        fault(directory.identify(), Fault::Refused);
        fault(
            directory.open(&world.place(), &Work::silent()),
            Fault::Refused,
        );
    }
    let bad = world.directory().exclude("a/b");
    fault(bad.identify(), Fault::Refused);
}

#[test]
fn identity_is_the_inode_and_its_ancestors() {
    let world = World::new();
    world.put("sub/deep/y", "y");
    let name = ResourceName::new("site").unwrap();
    let upper = world.directory().named(name.clone());
    let lower = Directory::at(world.real("sub/../sub/deep/"));
    assert_eq!((upper.kind(), upper.name()), ("dir", Some(&name)));
    let (upper, lower) = (upper.identify().unwrap(), lower.identify().unwrap());
    let stat = std::fs::metadata(world.real.path()).unwrap();
    assert_eq!(
        upper.key.as_str(),
        format!("dir:{}:{}", stat.dev(), stat.ino())
    );
    assert_eq!(lower.enclosing[1], upper.key);
    assert_eq!(lower.enclosing[2..], upper.enclosing[..]);
    let sandbox = world.open();
    assert_eq!(*sandbox.identity(), upper);
    let again = world.reopen(&*sandbox);
    assert_eq!(*again.identity(), upper);
    assert_eq!((again.kind(), again.view()), ("dir", sandbox.view()));
    assert_eq!(again.path(), Some(trim(&world.view(""))));
    assert_eq!(again.target(), world.real.path().to_str().unwrap());
    assert!(!again.is_volatile());
}

fn trim(path: &Path) -> &Path {
    Path::new(path.to_str().unwrap().trim_end_matches('/'))
}

#[test]
fn guards_are_the_directory_and_what_encloses_it() {
    let world = World::new();
    let sandbox = world.open();
    let guards = sandbox.guards().unwrap();
    let identity = sandbox.identity();
    assert_eq!((&guards[0].key, guards[0].shared), (&identity.key, false));
    guards[0].file.as_ref().unwrap().try_lock().unwrap();
    let above: Vec<_> = guards[1..].iter().map(|guard| guard.key.clone()).collect();
    assert_eq!(above, identity.enclosing);
    for guard in &guards[1..] {
        assert!(guard.shared);
        guard.file.as_ref().unwrap().try_lock_shared().unwrap();
    }
    // Another sandbox of the same directory has a description of its own.
    let other = world.reopen(&*sandbox).guards().unwrap();
    assert!(other[0].file.as_ref().unwrap().try_lock().is_err());
}

#[test]
fn a_store_inside_the_directory_is_refused() {
    let world = World::new();
    std::fs::create_dir_all(world.real("x/store")).unwrap();
    let place = Place {
        dir: world.real("x/store"),
        token: "tok-1".to_owned(),
        label: "a plan".to_owned(),
    };
    let opened = world.directory().open(&place, &Work::silent());
    fault(opened, Fault::Refused);
    let place = Place {
        token: "../../escape".to_owned(),
        label: "a plan".to_owned(),
        ..world.place()
    };
    fault(
        world.directory().open(&place, &Work::silent()),
        Fault::Corrupt,
    );
    assert!(DirectoryKind.reopen("{}", &place).is_err());
}

#[test]
fn a_root_that_was_replaced_is_lost_but_can_be_looked_at_and_discarded() {
    for gone in [true, false] {
        let world = World::new();
        std::fs::create_dir(world.real("root")).unwrap();
        world.put("root/a", "a");
        let directory = Directory::at(world.real("root"));
        let mut sandbox = directory.open(&world.place(), &Work::silent()).unwrap();
        world.edit("a", "ours");
        let redo = ready(&mut *sandbox);
        rename(&world.real("root"), &world.real("elsewhere"));
        if !gone {
            world.put("root/a", "a");
        }
        let before = world.before();
        fault(sandbox.guards(), Fault::Lost);
        fault(sandbox.prepare(&Work::silent()), Fault::Lost);
        fault(sandbox.apply(&redo, &Work::silent()), Fault::Lost);
        sandbox.unseal().unwrap();
        fault(sandbox.seal(&Work::silent()), Fault::Lost);
        let again = world.reopen(&*sandbox);
        assert_eq!(lines(&*again), ["M a file"]);
        sandbox.discard(&Work::silent()).unwrap();
        assert_same(&world.before(), &before, "nothing was written");
    }
}

/// Work that cannot be committed, and the path that is named.
type Case = (&'static str, fn(&World), &'static str);

const REFUSED: &[Case] = &[
    ("pipe", |w| make_node(w, "pipe", FileType::Fifo), "pipe"),
    (
        "pipe in a new tree",
        |w| {
            std::fs::create_dir(w.view("new")).unwrap();
            make_node(w, "new/pipe", FileType::Fifo);
        },
        "new/pipe",
    ),
    (
        "socket in the place of a file",
        |w| {
            std::fs::remove_file(w.view("a")).unwrap();
            make_node(w, "a", FileType::Socket);
        },
        "a",
    ),
    ("new set-user-id bit", |w| chmod(&w.view("a"), 0o4755), "a"),
    (
        "set-group-id bit in a new tree",
        |w| {
            w.edit("new/tool", "#!");
            chmod(&w.view("new/tool"), 0o2755);
        },
        "new/tool",
    ),
    (
        "deleting what holds something left out",
        |w| remove(&w.view("sub")),
        "sub",
    ),
    (
        "replacing what holds something left out",
        |w| {
            remove(&w.view("sub"));
            symlink("/", w.view("sub")).unwrap();
        },
        "sub",
    ),
];

fn make_node(world: &World, path: &str, kind: FileType) {
    rustix::fs::mknodat(CWD, world.view(path), kind, Mode::RUSR, 0).unwrap();
}

#[test]
fn what_cannot_be_committed_is_refused_by_name() {
    for (name, work, path) in REFUSED {
        let world = World::new();
        furnish(&world);
        let before = world.before();
        let mut sandbox = world.open();
        work(&world);
        for error in [
            sandbox.diff(&Work::silent()).unwrap_err(),
            sandbox.seal(&Work::silent()).unwrap_err(),
        ] {
            assert_eq!(error.fault, Fault::Refused, "{name}: {error}");
            assert_eq!(error.path.as_deref(), Some(Path::new(path)), "{name}");
        }
        assert_same(&world.before(), &before, name);
        sandbox.discard(&Work::silent()).unwrap();
    }
}

#[test]
fn excluded_names_in_the_view_are_ignored_and_noted() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    world.edit(".git/config", "evil");
    world.edit("new/.git/hooks/post-checkout", "evil");
    world.edit("new/file", "good");
    world.edit(".planbox/x", "evil");
    let changes = sandbox.diff(&Work::silent()).unwrap();
    assert!(changes.notes.iter().any(|note| note.contains("excluded")));
    assert_eq!(lines(&*sandbox), ["A new directory", "A new/file file"]);
    commit(&mut *sandbox);
    assert!(!world.real(".git").exists() && !world.real("new/.git").exists());
    assert!(world.real("new/file").exists() && !world.real(".planbox").exists());

    let world = World::new();
    furnish(&world);
    let directory = world.directory().with_vcs().exclude("deep");
    let mut sandbox = directory.open(&world.place(), &Work::silent()).unwrap();
    assert!(world.view("sub/.git/config").exists() && !world.view("sub/deep").exists());
    world.edit("sub/.git/config", "taken in");
    commit(&mut *sandbox);
    assert_eq!(
        std::fs::read(world.real("sub/.git/config")).unwrap(),
        b"taken in"
    );
}

#[test]
fn set_id_bits_of_a_changed_file_are_dropped_and_noted() {
    let world = World::new();
    furnish(&world);
    chmod(&world.real("a"), 0o4755);
    chmod(&world.real("b"), 0o4755);
    let mut sandbox = world.open();
    world.edit("a", "changed");
    let notes = sandbox.diff(&Work::silent()).unwrap().notes;
    assert!(notes.iter().any(|n| n.contains("set-id bits dropped: a")));
    commit(&mut *sandbox);
    let mode = |path: &str| std::fs::metadata(world.real(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("a"), mode("b")), (0o755, 0o4755));
}

#[test]
fn frozen_files_and_directories_are_denied_before_anything_is_written() {
    // With the flags that are there: ext4 takes a missing one for a wish to convert the file.
    let flip = |path: &Path, flags: IFlags| {
        let file = std::fs::File::open(path).unwrap();
        let now = rustix::fs::ioctl_getflags(&file)?;
        rustix::fs::ioctl_setflags(&file, now ^ flags)
    };
    for (path, flags) in [
        ("b", IFlags::IMMUTABLE),
        ("b", IFlags::APPEND),
        (".", IFlags::IMMUTABLE),
        ("sub", IFlags::APPEND),
        ("sub/deep/y", IFlags::IMMUTABLE),
    ] {
        let world = World::new();
        furnish(&world);
        let directory = world.directory().with_vcs();
        let mut sandbox = directory.open(&world.place(), &Work::silent()).unwrap();
        for name in ["a", "b", "c", "sub/x"] {
            world.edit(name, "ours");
        }
        remove(&world.view("sub/deep"));
        if flip(&world.real(path), flags).is_err() {
            skip("not permitted to freeze files here");
            return;
        }
        let before = world.before();
        sandbox.seal(&Work::silent()).unwrap();
        let error = sandbox.prepare(&Work::silent()).unwrap_err();
        flip(&world.real(path), flags).unwrap();
        assert_eq!(error.fault, Fault::Denied, "{path}: {error}");
        let named = error.path.unwrap();
        assert!(named.ends_with(path.trim_start_matches('.')), "{named:?}");
        // Nothing was written, and thawed it commits.
        let text = |s: &Snapshot| s.get("b").cloned();
        assert_eq!(text(&world.before()), text(&before));
        // Freezing and thawing moved its time of status change, and nothing else.
        let vote = sandbox.prepare(&Work::silent()).unwrap();
        assert!(matches!(vote, Vote::Ready { .. }), "{path}: {vote:?}");
    }
}

#[test]
fn a_wish_to_stop_stops_and_keeps_the_work() {
    let world = World::new();
    furnish(&world);
    let stop = AtomicBool::new(true);
    let observer = |_| {};
    let work = Work::new(&observer, &stop);
    fault(
        world.directory().open(&world.place(), &work),
        Fault::Interrupted,
    );
    world.empty_place();
    let mut sandbox = world.open();
    world.edit("a", "ours");
    fault(sandbox.diff(&work), Fault::Interrupted);
    fault(sandbox.seal(&work), Fault::Interrupted);
    stop.store(false, Ordering::Relaxed);
    sandbox.seal(&work).unwrap();
    stop.store(true, Ordering::Relaxed);
    fault(sandbox.prepare(&work), Fault::Interrupted);
    stop.store(false, Ordering::Relaxed);
    let redo = ready(&mut *sandbox);
    stop.store(true, Ordering::Relaxed);
    // A decided step goes on.
    sandbox.apply(&redo, &work).unwrap();
    sandbox.settle(&redo).unwrap();
    fault(sandbox.discard(&work), Fault::Interrupted);
    sandbox.discard(&Work::silent()).unwrap();
}

#[test]
fn a_pinned_view_is_that_view() {
    let world = World::new();
    furnish(&world);
    let directory = world.directory().view(ViewChoice::Pinned(ViewKind::Copy));
    let sandbox = directory.open(&world.place(), &Work::silent()).unwrap();
    assert_eq!(sandbox.view(), "copy");
}

#[test]
fn a_view_or_a_place_that_is_gone_is_lost() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    remove(&world.view(""));
    fault(sandbox.diff(&Work::silent()), Fault::Lost);
    fault(sandbox.seal(&Work::silent()), Fault::Lost);
    fault(sandbox.prepare(&Work::silent()), Fault::Lost);
    sandbox.discard(&Work::silent()).unwrap();
}

#[test]
fn a_directory_that_may_not_be_written_is_denied() {
    if rustix::process::geteuid().is_root() {
        skip("a privileged process may write everywhere");
        return;
    }
    let world = World::new();
    furnish(&world);
    chmod(&world.real("sub"), 0o555);
    let before = world.before();
    let mut sandbox = world.open();
    chmod(&world.view("sub"), 0o755);
    world.edit("a", "ours");
    world.edit("sub/x", "ours");
    chmod(&world.view("sub"), 0o555);
    sandbox.seal(&Work::silent()).unwrap();
    fault(sandbox.prepare(&Work::silent()), Fault::Denied);
    assert_same(&world.before(), &before, "denied");
    // A plan that makes it writable may write there.
    sandbox.unseal().unwrap();
    chmod(&world.view("sub"), 0o755);
    let redo = commit(&mut *sandbox);
    assert_eq!(std::fs::read(world.real("sub/x")).unwrap(), b"ours");
    sandbox.take_back(&redo, &Work::silent()).unwrap();
    assert_same(&world.before(), &before, "taken back");
    chmod(&world.real("sub"), 0o755);
}

/// A tmpfs that is unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn at(path: PathBuf) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "none"]).arg(&path);
        let done = mount.stderr(std::process::Stdio::null()).status();
        done.is_ok_and(|status| status.success())
            .then_some(Self(path))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

#[test]
fn a_mount_that_came_later_is_never_touched() {
    let works: [fn(&World); 4] = [
        |w| w.edit("sub/deep/y", "below the mount"),
        |w| w.edit("sub/deep/new", "below the mount"),
        |w| remove(&w.view("sub/deep")),
        |w| {
            remove(&w.view("sub"));
            w.edit("sub", "in the place of what holds the mount");
        },
    ];
    for work in works {
        let world = World::new();
        furnish(&world);
        let directory = world.directory().with_vcs();
        let mut sandbox = directory.open(&world.place(), &Work::silent()).unwrap();
        work(&world);
        let mounted = Mounted::at(world.real("sub/deep"));
        let Some(mounted) = mounted else {
            skip("not permitted to mount here");
            return;
        };
        write(&world.real("sub/deep/y"), b"theirs");
        let before = world.before();
        sandbox.seal(&Work::silent()).unwrap();
        match sandbox.prepare(&Work::silent()) {
            Ok(Vote::Conflict(_)) => {}
            other => drop(fault(other, Fault::Refused)),
        }
        assert_same(&world.before(), &before, "refused");
        drop(mounted);
    }
}

#[test]
fn an_edit_that_hides_behind_its_old_size_and_time_is_a_conflict() {
    let world = World::new();
    furnish(&world);
    let mut sandbox = world.open();
    world.edit("a", "ours");
    let path = world.real("a");
    let before = std::fs::metadata(&path).unwrap();
    let length = usize::try_from(before.len()).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut &file, &vec![b'!'; length]).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    sandbox.seal(&Work::silent()).unwrap();
    assert_eq!(conflicting(&mut *sandbox), ["a"]);
}
