"""Lives that the simulated platform leads beside its learners: accounts, courses, what they are made of, and money.

Each life is written twice from the same decisions: as the events that the platform publishes, and as the documents
that must follow from them. Nothing is imported from the folds that make the documents.
"""
