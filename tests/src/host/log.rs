//! The log as an auditor finds it on the disk.

use chartgate::audit::read_lines;
use serde_json::Value;

use super::World;

impl World {
    /// All lines of the log, in the order of their segments.
    pub fn log_lines(&self) -> Vec<String> {
        let lines = read_lines(&self.data().join("log")).unwrap();
        lines.map(|line| String::from_utf8(line.unwrap().bytes).unwrap()).collect()
    }

    /// The record with this identifier; there has to be exactly one.
    pub fn record(&self, id: &Value) -> Value {
        let records = self.log_lines().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let mut found: Vec<Value> = records.filter(|record| record["id"] == *id).collect();
        assert_eq!(found.len(), 1, "records with id {id}");
        found.remove(0)
    }

    /// The records of changes, oldest first.
    pub fn changes(&self) -> Vec<Value> {
        let records = self.log_lines().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let mut found: Vec<Value> = records.filter(|record| record["schema"] == "chartgate-change/1").collect();
        found.sort_by_key(|record| record["id"].to_string());
        found
    }

    /// Whether any file of the data folder holds these bytes.
    pub fn data_holds(&self, needle: &str) -> bool {
        let mut folders = vec![self.data()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read(&path).unwrap().windows(needle.len()).any(|bytes| bytes == needle.as_bytes()) {
                    return true;
                }
            }
        }
        false
    }
}
