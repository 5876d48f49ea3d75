//! Catalogs, and what is known of them.

use super::{Batch, Ledger, LedgerError, RecordKey, Versioned};
use crate::domain::{Catalog, CatalogStatus};
use crate::ports::Scan;

impl Ledger {
    /// One catalog.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn catalog(&self, name: &str) -> Result<Option<Versioned<Catalog>>, LedgerError> {
        self.one(&RecordKey::Catalog(name.to_owned()))
    }

    /// All catalogs, by name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn catalogs(&self) -> Result<Vec<Versioned<Catalog>>, LedgerError> {
        self.many(&Scan::all("catalog/"))
    }

    /// What is known of a catalog.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn catalog_status(&self, name: &str) -> Result<Option<Versioned<CatalogStatus>>, LedgerError> {
        self.one(&RecordKey::CatalogStatus(name.to_owned()))
    }
}

impl Batch {
    /// Writes a catalog.
    pub fn put_catalog(self, catalog: &Catalog) -> Self {
        self.put(&RecordKey::Catalog(catalog.name.clone()), catalog)
    }

    /// Writes what is known of a catalog.
    pub fn put_catalog_status(self, name: &str, status: &CatalogStatus) -> Self {
        self.put(&RecordKey::CatalogStatus(name.to_owned()), status)
    }

    /// Deletes a catalog with what is known of it.
    pub fn delete_catalog(self, name: &str) -> Self {
        self.delete(&RecordKey::Catalog(name.to_owned())).delete(&RecordKey::CatalogStatus(name.to_owned()))
    }
}
