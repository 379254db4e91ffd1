//! A map under latches: one shard, which many read or one changes. A shard that holds other keys as
//! well is what the locks of a table have to live with in the worst case.

use loom::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::PoisonError;

pub(crate) struct Shards<K, V> {
    shard: RwLock<BTreeMap<K, V>>,
}

/// What is mapped, while the shard is held for reading.
pub(crate) struct Found<'a, K, V> {
    shard: RwLockReadGuard<'a, BTreeMap<K, V>>,
    key: K,
}

/// The place of a key, while the shard is held for changing.
pub(crate) enum Entry<'a, K, V> {
    Occupied(Mapped<'a, K, V>),
    Vacant(Free<'a, K, V>),
}

pub(crate) struct Mapped<'a, K, V> {
    shard: RwLockWriteGuard<'a, BTreeMap<K, V>>,
    key: K,
}

pub(crate) struct Free<'a, K, V> {
    shard: RwLockWriteGuard<'a, BTreeMap<K, V>>,
    key: K,
}

impl<K: Ord + Clone, V> Shards<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            shard: RwLock::new(BTreeMap::new()),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<K, V>> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<K, V>> {
        self.shard.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &K) -> Option<Found<'_, K, V>> {
        let shard = self.read();
        let key = shard.contains_key(key).then(|| key.clone())?;
        Some(Found { shard, key })
    }

    pub(crate) fn entry(&self, key: K) -> Entry<'_, K, V> {
        let shard = self.write();
        if shard.contains_key(&key) {
            return Entry::Occupied(Mapped { shard, key });
        }
        Entry::Vacant(Free { shard, key })
    }

    pub(crate) fn insert(&self, key: K, value: V) -> Option<V> {
        self.write().insert(key, value)
    }

    pub(crate) fn remove_if(&self, key: &K, test: impl FnOnce(&K, &V) -> bool) -> Option<(K, V)> {
        let mut shard = self.write();
        let (key, value) = shard.get_key_value(key)?;
        let key = test(key, value).then(|| key.clone())?;
        shard.remove_entry(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }
}

impl<K: Ord, V> Deref for Found<'_, K, V> {
    type Target = V;
    fn deref(&self) -> &V {
        self.shard
            .get(&self.key)
            .unwrap_or_else(|| unreachable!("the shard is held"))
    }
}

impl<K: Ord + Clone, V> Mapped<'_, K, V> {
    pub(crate) fn get(&self) -> &V {
        self.shard
            .get(&self.key)
            .unwrap_or_else(|| unreachable!("the shard is held, and the key is mapped"))
    }

    pub(crate) fn insert(&mut self, value: V) -> Option<V> {
        self.shard.insert(self.key.clone(), value)
    }
}

impl<K: Ord, V> Free<'_, K, V> {
    pub(crate) fn insert(mut self, value: V) {
        self.shard.insert(self.key, value);
    }
}
