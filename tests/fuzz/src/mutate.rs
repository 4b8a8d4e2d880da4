//! Mutations that keep JSON what it is.
//!
//! Bytes changed at random are soon no JSON at all and end in the first lines of a parser. Here one node
//! of the tree is changed, so that what comes out still reaches the rules behind it.

use std::ops::Range;

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Map, Value};

/// What a kind of JSON text is made of.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// names of members
    pub names: &'a [&'a str],
    /// values, each a JSON text
    pub values: &'a [&'a str],
}

/// Change the JSON that is this part of the input in one or two places; in one of two calls, and where
/// there is no JSON, leave the change to the library. Returns the new size.
pub fn json(data: &mut [u8], size: usize, max_size: usize, seed: u32, part: Range<usize>, words: Words<'_>) -> usize {
    let mut dice = Dice::new(seed);
    if dice.below(2) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let input = data.get(..size).unwrap_or_default();
    let (before, after) = (input.get(..part.start).unwrap_or_default(), input.get(part.end..).unwrap_or_default());
    let parsed = input.get(part).and_then(|text| serde_json::from_slice::<Value>(text).ok());
    let Some(mut root) = parsed else { return fuzzer_mutate(data, size, max_size) };
    for _ in 0..=dice.below(2) {
        let other = nth(&mut root, &mut dice).map(|node| node.clone()).unwrap_or_default();
        if let Some(node) = nth(&mut root, &mut dice) {
            change(node, other, &mut dice, words);
        }
    }
    let input = [before, root.to_string().as_bytes(), after].concat();
    match data.get_mut(..input.len()).filter(|_| input.len() <= max_size) {
        Some(room) => {
            room.copy_from_slice(&input);
            input.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
}

/// One change of one node. `other` is a copy of some other node.
fn change(node: &mut Value, other: Value, dice: &mut Dice, words: Words<'_>) {
    match dice.below(7) {
        0 => *node = other,
        1 => *node = Value::Array(vec![node.take()]),
        2 => *node = Value::Object(Map::from_iter([(dice.name(words), node.take())])),
        3 => match node {
            Value::Array(items) if !items.is_empty() => *node = items.swap_remove(dice.below(items.len())),
            Value::Object(members) => *node = members.values().next().cloned().unwrap_or_default(),
            _ => *node = dice.value(words),
        },
        _ => match node {
            Value::Array(items) => match dice.below(3) {
                0 => items.push(dice.value(words)),
                1 => items.push(other),
                _ => drop(items.pop()),
            },
            Value::Object(members) => {
                let at = dice.below(members.len().max(1));
                let name = members.keys().nth(at).cloned().unwrap_or_default();
                match dice.below(4) {
                    0 => drop(members.insert(dice.name(words), dice.value(words))),
                    1 => drop(members.insert(dice.name(words), other)),
                    2 => drop(members.remove(&name)),
                    _ => {
                        let value = members.remove(&name).unwrap_or_default();
                        members.insert(dice.name(words), value);
                    }
                }
            }
            _ => *node = dice.value(words),
        },
    }
}

/// Any node of the tree.
fn nth<'v>(root: &'v mut Value, dice: &mut Dice) -> Option<&'v mut Value> {
    let mut left = dice.below(count(root));
    find(root, &mut left)
}

fn count(node: &Value) -> usize {
    1 + match node {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

fn find<'v>(node: &'v mut Value, left: &mut usize) -> Option<&'v mut Value> {
    if *left == 0 {
        return Some(node);
    }
    *left -= 1;
    match node {
        Value::Array(items) => items.iter_mut().find_map(|item| find(item, left)),
        Value::Object(members) => members.values_mut().find_map(|member| find(member, left)),
        _ => None,
    }
}

/// xorshift32: equal seeds make equal mutations, so that a run can be repeated.
struct Dice(u32);

impl Dice {
    fn new(seed: u32) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9) | 1)
    }

    /// A number below `bound`, which is at least 1.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % bound.max(1)
    }

    fn name(&mut self, words: Words<'_>) -> String {
        let at = self.below(words.names.len());
        words.names.get(at).copied().unwrap_or("x").to_owned()
    }

    fn value(&mut self, words: Words<'_>) -> Value {
        let at = self.below(words.values.len());
        words.values.get(at).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}
