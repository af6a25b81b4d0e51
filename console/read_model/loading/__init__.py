"""Loading: from the topics into the database, and dropping what is past retention."""
