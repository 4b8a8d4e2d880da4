//! FHIR request parser.
