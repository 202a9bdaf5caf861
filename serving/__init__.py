"""The prediction half of dlstack: model server, model sync and gateway."""
